// The header works in C++17: types, lambdas as callbacks, and calls that link.
#include <failsoft.h>

#include <cstdint>
#include <cstring>
#include <memory>

int main() {
    const std::unique_ptr<failsoft_config, decltype(&failsoft_config_free)> config(failsoft_config_new("127.0.0.1:1"),
                                                                                   failsoft_config_free);
    const failsoft_loader loader = [](failsoft_load *request, void *) {
        std::size_t len = 0;
        const std::uint8_t *key = failsoft_load_key(request, &len);
        failsoft_load_reply(request, key, len);
        failsoft_load_free(request);
    };
    failsoft_router *router = nullptr;
    failsoft_outcome *outcome = nullptr;
    if (failsoft_router_open(config.get(), &router) != FAILSOFT_OK)
        return 1;
    // Nobody is there: the loader serves.
    const failsoft_status status = failsoft_get_with_fallback(
        router, reinterpret_cast<const std::uint8_t *>("k"), 1, loader, nullptr, &outcome);
    const bool good = status == FAILSOFT_OK && std::strcmp(failsoft_outcome_served_by(outcome), "secondary") == 0;
    failsoft_outcome_free(outcome);
    return failsoft_router_close(router) == FAILSOFT_OK && good ? 0 : 1;
}

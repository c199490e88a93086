//! Managed services and servers that are not quite Redis, as scripted nodes: what each refuses of the commands that
//! clients ask, and in which words.
//!
//! Sources: each service's own page on restricted or supported commands, and public reports where that is silent on
//! the words. `docs/servers.md` of the project says which is which.

use super::{Behaviour, ScriptedNode};

/// A service to imitate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Profile {
    /// Amazon ElastiCache, cluster mode enabled.
    ElastiCache,
    /// Amazon MemoryDB.
    MemoryDb,
    /// Google Cloud Memorystore for Redis Cluster and for Valkey.
    Memorystore,
    /// Azure Managed Redis with the OSS clustering policy.
    AzureManagedRedis,
    /// Redis Software (Enterprise) and Redis Cloud with the OSS Cluster API.
    RedisEnterprise,
    /// Dragonfly in cluster mode.
    Dragonfly,
}

/// What administers a server, and no client needs.
const ADMINISTRATION: &[&str] =
    &["CONFIG", "DEBUG", "SHUTDOWN", "SAVE", "BGSAVE", "BGREWRITEAOF", "REPLICAOF", "SLAVEOF", "MIGRATE", "SYNC"];

/// What Redis Software has not, even with the OSS Cluster API: no client sees a replica of it.
const ENTERPRISE: &[&str] = &["CLUSTER MYID", "CLUSTER SHARDS", "READONLY", "READWRITE", "ASKING"];

impl Profile {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ElastiCache,
        Self::MemoryDb,
        Self::Memorystore,
        Self::AzureManagedRedis,
        Self::RedisEnterprise,
        Self::Dragonfly,
    ];

    /// The refused commands, each with the error line.
    fn refusals(self) -> Vec<(&'static str, String)> {
        let unknown = |name: &str| match name.split_once(' ') {
            Some((_, sub)) => format!("ERR unknown subcommand '{sub}'. Try CLUSTER HELP."),
            None => format!("ERR unknown command '{}', with args beginning with: ", name.to_ascii_lowercase()),
        };
        let noperm = |name: &str| {
            let name = name.to_ascii_lowercase().replace(' ', "|");
            format!("NOPERM User default has no permissions to run the '{name}' command")
        };
        let all = |words: &dyn Fn(&str) -> String, names: &[&[&'static str]]| {
            names.concat().into_iter().map(|name| (name, words(name))).collect()
        };
        match self {
            Self::ElastiCache => all(&unknown, &[ADMINISTRATION]),
            Self::MemoryDb => all(&unknown, &[ADMINISTRATION, &["MODULE", "PSYNC", "ACL"]]),
            Self::Memorystore => all(&noperm, &[ADMINISTRATION, &["ACL", "MODULE", "ROLE"]]),
            Self::AzureManagedRedis => all(&unknown, &[ADMINISTRATION, ENTERPRISE]),
            Self::RedisEnterprise => {
                all(&|_| "ERR command is not allowed".to_owned(), &[ADMINISTRATION, ENTERPRISE, &["ROLE"]])
            }
            Self::Dragonfly => all(&unknown, &[&["MIGRATE", "SYNC", "CLUSTER LINKS"]]),
        }
    }
}

impl ScriptedNode {
    /// From now on it refuses what this service refuses, in its words. Dragonfly also says in `CLUSTER INFO` that all
    /// epochs are 1; give it a topology whose epochs are 0.
    pub fn imitate(&self, profile: Profile) {
        for (command, line) in profile.refusals() {
            self.on(command, Behaviour::error(line));
        }
        if profile == Profile::Dragonfly {
            self.set_info("cluster_current_epoch", "1");
            self.set_info("cluster_my_epoch", "1");
            self.on("CLUSTER MYID", Behaviour::reply(format!("+{}\r\n", self.id())));
        }
    }
}

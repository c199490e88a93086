// The test kit's clusters and scripted nodes, driven over a pipe.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of the whole project: the tests may lie anywhere below it. */
function rootOf(folder) {
  return existsSync(join(folder, 'Cargo.toml')) ? `${folder}/` : rootOf(dirname(folder))
}

export const ROOT = rootOf(dirname(fileURLToPath(import.meta.url)))
/** What the tests need and the package does not bring. */
export const MODULES = join(ROOT, 'node/node_modules')
const PROGRAM = process.env.FAILSOFT_TESTKIT ?? `${ROOT}target/debug/examples/testkit`

/** One process of the test kit: at most one cluster, any number of scripted nodes. */
export class Kit {
  #process = spawn(PROGRAM, { stdio: ['pipe', 'pipe', 'inherit'] })
  #answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
  #last = Promise.resolve()
  addresses = []

  /** One request after the other. */
  ask(what, details = {}) {
    const answer = this.#last.then(async () => {
      this.#process.stdin.write(`${JSON.stringify({ do: what, ...details })}\n`)
      const { value, done } = await this.#answers.next()
      if (done) throw new Error(`${what}: the test kit has ended`)
      const given = JSON.parse(value)
      if (given.error !== undefined) throw new Error(`${what}: ${given.error}`)
      return given
    })
    this.#last = answer.catch(() => {})
    return answer
  }

  async cluster(primaries, replicas) {
    this.addresses = (await this.ask('cluster', { primaries, replicas })).addresses
    return this.addresses
  }

  async scripted() {
    const { node, address } = await this.ask('scripted')
    return {
      address,
      behave: (command, how) => this.ask('behave', { node, command, how }),
      /** It behaves as always again. */
      allow: () => this.ask('behave', { node }),
      calls: async (command) => (await this.ask('calls', { node, command })).calls
    }
  }

  async close() {
    if (this.#process.exitCode !== null) return
    const ended = once(this.#process, 'exit')
    this.#process.stdin.end()
    await ended
  }
}

/** Polls until it holds. */
export async function eventually(what, holds) {
  const deadline = Date.now() + 30_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 30 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Settings with enough time for a busy machine. */
export const PATIENT = { attemptTimeoutMs: 4000, deadlineMs: 16_000, connectTimeoutMs: 4000 }

// The users' database: a file of JSON, read again for each query, as slow as a small database is.
import { access, readFile, writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'

const FILE = process.env.DATABASE ?? 'users.json'

/** Makes a table of users, once. */
export async function prepare() {
  try {
    await access(FILE)
  } catch {
    const users = Array.from({ length: 1000 }, (_, id) => [id, `user ${id}`])
    await writeFile(FILE, JSON.stringify(Object.fromEntries(users)))
  }
}

/** The name of a user, or undefined. */
export async function select(id) {
  await pause(2)
  return JSON.parse(await readFile(FILE, 'utf8'))[id]
}

'use strict'
// A writer's place inside `Router.writing`, which holds keys around a transaction of the caller's own store.

const ignore = () => {}

class Writing {
  #end
  #ended

  constructor(end) {
    this.#end = end
  }

  done() {
    return (this.#ended ??= this.#end())
  }

  /** For `await using`: whoever has called `done` was told there what came of it, and is not told twice. */
  [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    return this.#ended === undefined ? this.done() : this.#ended.then(ignore, ignore)
  }
}

/** Runs a transaction inside. Its own error is the one that counts. */
async function within(writing, transaction) {
  let result
  try {
    result = await transaction()
  } catch (error) {
    await writing.done().catch(ignore)
    throw error
  }
  await writing.done()
  return result
}

module.exports = { Writing, within }

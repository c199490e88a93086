'use strict'
// The function that the addon calls when completions have come. The addon is loaded once for a thread, but this package
// is loaded again into each `vm` context, such as that of a test file. So the function belongs to the main context, and
// holds a copy of the package only while that copy has calls under way: afterwards the copy can be collected with its
// context. The copy itself has to keep the target, its `drain`, alive.

const { runInThisContext } = require('node:vm')

const make = runInThisContext(`(target) => {
  const weak = new WeakRef(target)
  let strong
  return {
    wake: () => (strong ?? weak.deref())?.(),
    hold: (same) => { strong = same },
    release: () => { strong = undefined }
  }
}`, 'failsoft:wake')

module.exports = { make }

// The same for CommonJS.
import failsoft = require('failsoft')

const router: failsoft.Router<string> = new failsoft.Router('127.0.0.1:1', { encoding: 'utf8', deadlineMs: 200 })
const read: Promise<string | null> = router.getWithFallback(Buffer.from('k'), (key: Buffer) => key)

read.then(async (value) => {
  console.log(value, failsoft.version)
  await router.close()
})

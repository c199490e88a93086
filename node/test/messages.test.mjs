// What an operator is told by `node:diagnostics_channel`.
import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after, test } from 'node:test'
import { Router } from 'failsoft'
import { eventually, Kit, PATIENT } from './testkit.mjs'

const kit = new Kit()
after(() => kit.close())

/** Everything that comes on a channel while this goes on. */
async function heard(channel, during) {
  const messages = []
  const listener = (message) => messages.push(message)
  subscribe(channel, listener)
  try {
    await during(messages)
  } finally {
    unsubscribe(channel, listener)
  }
}

test('a cluster that is not found', async () => {
  await heard('failsoft:view', async (messages) => {
    const router = new Router(['127.0.0.1:1'], PATIENT)
    await eventually('it is told', () => messages.length > 0)
    const [{ router: whose, event, count, subjects }] = messages
    assert.equal(whose, router)
    assert.deepEqual({ event, count, subjects }, { event: 'no_view', count: 1, subjects: [{ node: '127.0.0.1:1', reason: 'connection' }] })
    await router.close()
  })
})

test('a node that is lost, and that is back', async () => {
  const nodes = await kit.cluster(3, 0)
  await heard('failsoft:node', async (messages) => {
    const router = new Router(nodes, PATIENT)
    await router.ready(30_000)
    await eventually('all slots are served', () => router.health().slotsOk === 16_384)
    assert.deepEqual(messages, [])
    const about = (event) => messages.find((message) => message.event === event && message.subjects.some(({ node }) => node === nodes[0]))
    await kit.ask('kill', { node: 0 })
    await eventually('it is down', () => about('node_down') !== undefined)
    const { router: whose, count, subjects } = about('node_down')
    assert.equal(whose, router)
    assert.ok(count >= 1)
    assert.equal(typeof subjects[0].reason, 'string')
    await kit.ask('restart', { node: 0 })
    await eventually('it is up', () => about('node_up') !== undefined)
    assert.equal(about('node_up').subjects.find(({ node }) => node === nodes[0]).reason, null)
    await router.close()
  })
})

test('values that are not written back', async () => {
  const node = await kit.scripted()
  await node.behave('FILL', 'error')
  await heard('failsoft:fill', async (messages) => {
    const router = new Router([node.address], PATIENT)
    await router.ready(30_000)
    await eventually('it is told', async () => {
      assert.deepEqual(await router.getWithFallback(`fill:${Math.random()}`, () => 'v'), Buffer.from('v'))
      return messages.length > 0
    })
    assert.equal(messages[0].event, 'fill_failed')
    assert.equal(messages[0].subjects[0].node, null)
    assert.equal(typeof messages[0].subjects[0].reason, 'string')
    await router.close()
  })
})

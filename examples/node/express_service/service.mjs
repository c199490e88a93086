// A service with a cache in front of its database: it answers as long as the database does.
//
//     npm install failsoft express
//     FAILSOFT_NODES=127.0.0.1:7000 PORT=3000 node service.mjs
import express from 'express'
import { Router } from 'failsoft'
import { prepare, select } from './users.mjs'

const nodes = (process.env.FAILSOFT_NODES ?? '127.0.0.1:7000').split(',')
const router = new Router(nodes, { encoding: 'utf8' })
const loadUser = (key) => select(key.replace('user:', ''))

const app = express()

// A user, from the cache or the database; headers tell which, and why.
app.get('/users/:id', async (request, response) => {
  const { value, servedBy, reason } = await router.resolve(`user:${request.params.id}`, loadUser)
  response.set({ 'x-served-by': servedBy, 'x-reason': reason ?? '' })
  if (value === null) response.status(404).json({ error: 'no such user' })
  else response.json({ name: value })
})

// What the router knows.
app.get('/health', (_request, response) => response.json(router.health()))

await prepare()
const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1')

process.once('SIGTERM', () => server.close(() => router.close()))

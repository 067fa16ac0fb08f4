// A blog: pages have keys, lists of them have tags, and each writer declares its targets. Entries live in this process.
//
//   node examples/blog.mjs
//
//   curl -i localhost:3000/posts/1                                   # Cache-Status: fastify-route-cache; fwd=miss
//   curl -i localhost:3000/posts/1                                   # Cache-Status: fastify-route-cache; hit; ttl=600
//   curl -i localhost:3000/authors/ada                               # Cache-Status: fastify-route-cache; fwd=miss
//   curl -i localhost:3000/authors/bob                               # Cache-Status: fastify-route-cache; fwd=miss
//   curl -i -X PUT localhost:3000/posts/1                            # {"id":"1","author":"ada","edits":1}
//   curl -i localhost:3000/posts/1                                   # {"id":"1","author":"ada","edits":1}
//   curl -i localhost:3000/authors/ada                               # [{"id":"1","author":"ada","edits":1}]
//   curl -i localhost:3000/authors/bob                               # Cache-Status: fastify-route-cache; hit; ttl=60
import fastify from 'fastify'
import routeCache from 'fastify-route-cache'

const posts = [{ id: '1', author: 'ada', edits: 0 }, { id: '2', author: 'bob', edits: 0 }] // your database
const postOf = ({ id }) => posts.find((post) => post.id === id)

const app = fastify()
await app.register(routeCache, { prefix: 'blog' })

app.get('/posts/:id', { cache: { key: 'post:{id}', ttl: '10m' } }, async (request) => postOf(request.params))

app.get('/authors/:name', { cache: { tags: ['author:{name}'] } }, async (request) =>
  posts.filter(({ author }) => author === request.params.name))

app.put('/posts/:id', {
  // A function where the URL does not say it all: here, whose page shows the post.
  cache: {
    invalidates: ({ params }) => ({
      keys: [app.cache.key('post:{id}', params)], // built as GET builds it, whatever is in the id
      tags: [`author:${postOf(params).author}`]
    })
  }
}, async (request) => {
  const post = postOf(request.params)
  post.edits++
  return post
})

await app.listen({ port: Number(process.env.PORT ?? 3000) })

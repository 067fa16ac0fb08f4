// The command's help, with examples.

const CONNECTION = `where Redis is:
  --url URL            redis://user:password@host:port/database, rediss:// for TLS; default: REDIS_URL in the environment,
                       then redis://127.0.0.1:6379. A URL in the command line is seen by others on the machine (ps)
  --cluster            a Cluster; --url, or REDIS_URL with commas, may name several of its servers
  --sentinel HOST:PORT (repeatable) and --master NAME: by sentinels; user and password of the servers as in --url
  REDIS_PASSWORD, REDIS_SENTINEL_PASSWORD in the environment: passwords, in place of one in the URL
  --prefix NAME        as the plugin's option; default: cache
  --timeout TIME       how long all may take, of keys and --starts-with each step; default: 5s
  --json               data instead of words
  --version, -v        the package's version
exit codes: 0 done; 1 nothing is there, or something is wrong (doctor); 2 written wrongly; 3 Redis not reached, or it refused`

export const HELP = `fastify-route-cache: looks into the cache, and invalidates, from a shell

  purge      invalidates by --key, --tag, --starts-with (each repeatable), or --all; --soft makes stale instead
  inspect    what lies under a KEY, and whether it would be served
  keys       the keys that begin with PREFIX; without one, all
  tags       the tags of the entry under a KEY, and whether it is valid by them
  stats      what the live processes have counted, of those with the dashboard
  doctor     tries Redis: what is wrong with it for this cache, and what to do
  script     a Lua text by which programs in other languages invalidate

examples:
  npx fastify-route-cache purge --prefix shop --key user:1 --tag users
  npx fastify-route-cache keys --prefix shop user:
  REDIS_URL=redis://:secret@db:6379 npx fastify-route-cache doctor --prefix shop
  redis-cli EVAL "$(npx fastify-route-cache script)" 0 invalidate shop key user:1

${CONNECTION}`

export const HELP_OF: Readonly<Record<string, string>> = {
  purge: `fastify-route-cache purge: when it has ended with 0, no app serves what was stored before

  --key KEY            as routes build it (user:1); repeatable
  --tag TAG            whatever carries it; repeatable
  --starts-with TEXT   all keys that begin so; repeatable. Walks through all names in Redis
  --all                everything under the prefix
  --soft               keys and tags: stale instead of gone, where the route may serve stale

examples:
  npx fastify-route-cache purge --prefix shop --key user:1 --key user:2 --tag users
  npx fastify-route-cache purge --prefix shop --starts-with posts:page:
  npx fastify-route-cache purge --prefix shop --all

${CONNECTION}`
}

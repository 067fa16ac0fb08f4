// A cache in front of the uncached route, in a process of its own: `nginx` (proxy_cache) or `varnish`, where one is on PATH.
// With whole responses in its own memory or files, no Redis. The driver counts its processes' CPU time and ends them.
import fastify from 'fastify'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { listen, load, probe, PROBE, serve, TTL } from './subject.js'

const HOST = '127.0.0.1'
const MOST_POLLS = 200

const commands = {
  nginx: ({ folder, port, origin }) => {
    writeFileSync(join(folder, 'nginx.conf'), `
      ${process.getuid?.() === 0 ? 'user root;' : ''}
      worker_processes 1;
      daemon off;
      pid ${folder}/nginx.pid;
      error_log ${folder}/error.log;
      events { worker_connections 4096; }
      http {
        access_log off;
        sendfile on;
        tcp_nodelay on;
        keepalive_requests 100000000;
        client_body_temp_path ${folder}/body;
        proxy_temp_path ${folder}/proxy;
        fastcgi_temp_path ${folder}/fastcgi;
        uwsgi_temp_path ${folder}/uwsgi;
        scgi_temp_path ${folder}/scgi;
        proxy_cache_path ${folder}/cache levels=1:2 keys_zone=items:64m max_size=1g use_temp_path=off;
        upstream origin { server ${origin}; keepalive 64; }
        server {
          listen ${HOST}:${port};
          location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache items;
            proxy_cache_lock on;
            proxy_cache_valid 200 203 ${TTL}s;
          }
        }
      }`)
    return ['nginx', '-c', `${folder}/nginx.conf`, '-e', `${folder}/error.log`]
  },
  varnish: ({ folder, port, origin }) =>
    ['varnishd', '-F', '-j', 'none', '-n', `${folder}/work`, '-a', `${HOST}:${port}`, '-b', origin, '-t', `${TTL}`,
      '-s', 'malloc,512m']
}

await serve(async ({ variant }) => {
  const program = variant === 'varnish' ? 'varnishd' : variant
  const { error, stderr } = spawnSync(program, ['-V'], { encoding: 'utf8' })
  if (error !== undefined) throw new Error(`${program} is not installed`)
  const app = fastify()
  app.get('/item/:id', async ({ params }) => await load(params.id))
  app.get('/probe', async (_, reply) => {
    return await reply.code(PROBE.status).type(PROBE.type).header(PROBE.header, PROBE.made).send(probe())
  })
  const origin = new URL(await listen(app)).host
  const folder = mkdtempSync(join(tmpdir(), 'bench-proxy-'))
  const port = await freePort()
  const [command, ...args] = commands[variant]({ folder, port, origin })
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const url = `http://${HOST}:${port}`
  await answers(url, child)
  const workers = execFileSync('pgrep', ['-P', `${child.pid}`], { encoding: 'utf8' }).trim().split('\n').map(Number)
  return {
    url,
    version: /(?:nginx\/|varnish-)[\d.]+/.exec(stderr)?.[0],
    pids: [child.pid, ...workers],
    close: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true, force: true })
    }
  }
})

async function freePort () {
  const server = createServer().listen(0, HOST)
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function answers (url, child) {
  for (let i = 0; i < MOST_POLLS && child.exitCode === null; i++) {
    if (await fetch(`${url}/item/h1-0`).then(({ ok }) => ok, () => false)) return
    await delay(50)
  }
  child.kill('SIGTERM')
  throw new Error('it did not start')
}

// What is asked of the machine rather than of Redis: which ports are free, who answers on one, what stands still.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { promisify } from 'node:util'

/** Where all servers of the tests listen, and only there. */
export const HOST = '127.0.0.1'

/** Ports that are free now, all different. */
export async function freePorts (count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer().listen(0, HOST))
  await Promise.all(holders.map((holder) => once(holder, 'listening')))
  const ports = holders.map((holder) => (holder.address() as AddressInfo).port)
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))))
  return ports
}

// A PING, and a question for its pid: on a port that was taken from us, another server would answer the PING.
export function isReady (port: number, pid: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST, () => socket.write('PING\r\nINFO server\r\n'))
    let answer = ''
    const settle = (ready: boolean) => {
      socket.destroy()
      resolve(ready)
    }
    socket.setTimeout(1000, () => settle(false))
    socket.on('error', () => settle(false))
    socket.on('close', () => settle(false))
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      answer += chunk
      if (answer.startsWith('-')) settle(answer.startsWith('-NOAUTH'))
      const process = /process_id:(\d+)\r/.exec(answer)
      if (process !== null) settle(Number(process[1]) === pid)
    })
  })
}

// The signal is on its way when kill() returns, not yet delivered; the state in the process table tells.
export async function isStopped (pid: number): Promise<boolean> {
  if (process.platform === 'linux') {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T')
  }
  const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=', '-p', `${pid}`])
  return stdout.trim().startsWith('T')
}

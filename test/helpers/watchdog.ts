// Kills what a test process started, however that process ends. An 'exit' handler doesn't run when the test runner
// ends a hanging test with SIGKILL; a pipe is closed by the kernel in every case. So one small shell reads from a pipe
// whose other end only this process holds: it is told each child's pid and told to forget it when it was stopped, and
// at the end of the input it kills the rest and removes their folder.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const script = `
trap '' INT TERM HUP
pids=' '
while read -r word pid; do
  case "$word" in
    watch) pids="$pids$pid " ;;
    forget) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
  esac
done
case "$pids" in *[0-9]*) kill -9 $pids ;; esac
rm -rf "$1"
`

let watchdog: { child: ChildProcess, folder: string } | undefined
const watched = new Set<number>()

/** From here on `pid` ends with this process. */
export function watch (pid: number): void {
  watchdog ??= start()
  watched.add(pid)
  watchdog.child.stdin?.write(`watch ${pid}\n`)
}

/** To be called when `pid` has ended: the number may then soon belong to somebody else's process. */
export function forget (pid: number): void {
  if (!watched.delete(pid)) return
  watchdog?.child.stdin?.write(`forget ${pid}\n`)
}

/** A temporary folder that goes with this process. */
export function processFolder (): string {
  watchdog ??= start()
  return watchdog.folder
}

// Detached: a Ctrl-C in the terminal goes to the whole group, and the watchdog must outlive this process.
function start (): { child: ChildProcess, folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'route-cache-test-'))
  const child = spawn('sh', ['-c', script, 'watchdog', folder], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  child.unref()
  const stdin = child.stdin as { unref?: () => void } | null
  stdin?.unref?.()
  // On an ordinary end the children are gone before this process is, so that nobody has to wait for the watchdog.
  process.on('exit', () => {
    for (const pid of watched) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
  })
  return { child, folder }
}

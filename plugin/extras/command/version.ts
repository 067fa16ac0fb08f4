// The version of the package that has the command: the apps' own is to be the same.
import { readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const NAME = 'fastify-route-cache'

/** Of the package above the file that Node was started with; 'unknown' where that is none of this package. */
export async function versionOfPackage (): Promise<string> {
  let folder = dirname(await realpath(process.argv[1] ?? '.').catch(() => process.cwd()))
  for (;;) {
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => '{}')
    const { name, version } = JSON.parse(text) as { name?: string, version?: string }
    if (name === NAME && version !== undefined) return version
    if (folder === dirname(folder)) return 'unknown'
    folder = dirname(folder)
  }
}

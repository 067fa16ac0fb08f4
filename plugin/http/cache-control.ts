// Cache-Control, RFC 9111 §5.2: a list of directives, some with an argument.
// https://www.rfc-editor.org/rfc/rfc9111#section-5.2

/** The directives by lower-case name, each with its argument ('' where it has none); the first of a name counts. */
export function parseCacheControl (field: string): Map<string, string> {
  const directives = new Map<string, string>()
  // A quoted argument may contain commas: no-cache="set-cookie, x-user".
  // Nor does a semicolon belong to a name: `no-store; max-age=0` forbids as much as it would with a comma.
  for (const [, name, quoted, token] of field.matchAll(/([^\s,;="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g)) {
    const key = name!.toLowerCase()
    if (!directives.has(key)) directives.set(key, quoted?.replaceAll(/\\(.)/g, '$1') ?? token ?? '')
  }
  return directives
}

// RFC 9110 §9.2.1. https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1

/** Those that are defined as safe: they change nothing that their client asked for. */
export const SAFE_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE']

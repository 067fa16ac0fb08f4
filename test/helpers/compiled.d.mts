export function compiled (path: string, text: string): string

// Texts inside SQL that may hold quotes themselves.

/** A quote that the text does not hold. */
export function dollarQuoted (text: string): string {
  let tag = '$route_cache$'
  for (let i = 1; text.includes(tag); i++) tag = `$route_cache_${i}$`
  return `${tag}${text}${tag}`
}

/** A block that runs at once. */
export function doSql (block: string): string {
  return `DO ${dollarQuoted(block)};\n`
}

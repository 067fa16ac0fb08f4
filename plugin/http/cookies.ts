// Which cookies of a request's Cookie field count as somebody's own: all but those that no handler has a reason to read.
// https://www.rfc-editor.org/rfc/rfc6265#section-5.4

/** Whether a cookie of this name counts. */
export type CookieRule = (name: string) => boolean

/**
 * Cookies of analytics, advertising, CDNs and load balancers: a browser sends them with each request, but scripts in the
 * page, or the proxy in front, set and read them. Other caches leave them out as well: Varnish Software's tutorial
 * (doc/sphinx/tutorial/cookies.rst in varnishcache/varnish-cache) drops all that begin with an underscore, Contao's cache
 * (StripCookiesSubscriber in contao/contao) those of Google, Matomo, Meta and Cloudflare. Unlike these, ours are whole
 * names, as their makers document them, since `_ga*` is the session of an app called "gallery", too. Not among them:
 * cookies of tools that choose content (A/B tests, feature flags, consent), and Cloudflare's CF_Authorization, a user.
 */
const ANALYTICS: ReadonlySet<string> = new Set([
  // Google Analytics and Ads: business.safety.google/adscookies
  '_ga', '_gid', '_gat', 'AMP_TOKEN', '__utma', '__utmb', '__utmc', '__utmt', '__utmv', '__utmz', '__gads', '__gpi', '__eoi',
  // Meta, Microsoft, TikTok, Pinterest, Snapchat, Reddit, Quantcast
  '_fbp', '_fbc', '_clck', '_clsk', '_uetsid', '_uetvid', '_ttp', '_tt_enable_cookie', '_pin_unauth', '_scid', '_rdt_uuid',
  '__qca',
  // HubSpot, Yandex Metrica, Hotjar
  '__hstc', '__hssc', '__hssrc', '_ym_uid', '_ym_d', '_ym_isad', '_ym_visorc', '_hjid', '_hjFirstSeen', '_hjTLDTest',
  '_hjIncludedInSample', '_hjIncludedInPageviewSample', '_hjIncludedInSessionSample', '_hjAbsoluteSessionInProgress',
  // Cloudflare: developers.cloudflare.com/fundamentals/reference/policies-compliances/cloudflare-cookies
  '__cf_bm', '_cfuvid', 'cf_clearance', '__cfruid', '__cflb', '__cfseq', '__cfduid', 'cf_ob_info', 'cf_use_ob',
  // Load balancers of AWS and Azure; Akamai's bot manager
  'AWSALB', 'AWSALBCORS', 'AWSALBTG', 'AWSALBTGCORS', 'AWSELB', 'AWSELBCORS', 'ARRAffinity', 'ARRAffinitySameSite',
  'ak_bmsc', 'bm_sv', 'bm_sz', 'bm_mi', '_abck'
])

/** Those that have an account, a site or a property in their name. */
const ANALYTICS_FORMS: readonly RegExp[] = [
  /^_ga_[A-Z0-9]{6,16}$/, /^_gat_(?:gtag_)?UA[_-]\d{1,12}[_-]\d{1,6}$/, /^_dc_gtm_UA-\d{1,12}-\d{1,6}$/,
  /^_gac_(?:UA-\d{1,12}-\d{1,6}|gb_[A-Z0-9-]{6,20})$/, /^_gcl_[a-z]{2}$/,
  /^_pk_(?:id|ref|ses|cvar|hsr)\.\d{1,10}\.[\da-f]{4}$/, /^_hjSession(?:User)?_\d{1,12}$/, /^_ym_visorc_\d{1,12}$/,
  /^Hm_l[vp]t_[\da-f]{32}$/, /^(?:visid_incap|nlbi)_\d{1,12}(?:_\d{1,12})?$/, /^incap_ses_\d{1,12}_\d{1,12}$/
]

/** Where nobody says which count: all but those of analytics and of CDNs. */
export const isNoAnalyticsCookie: CookieRule = (name) =>
  !ANALYTICS.has(name) && !ANALYTICS_FORMS.some((form) => form.test(name))

/**
 * Those that are listed; with `*` at the end, those that begin so. A listed name is also meant with the browsers' prefixes
 * `__Host-`, `__Secure-`, as apps put them before it in production only, and with a number behind it: long sessions are cut
 * into `session.0`, `session.1`.
 */
export function listedCookies (names: readonly string[]): CookieRule {
  const whole = new Set(names.filter((name) => !name.endsWith('*')).map(withoutPrefix))
  const beginnings = names.filter((name) => name.endsWith('*')).map((name) => withoutPrefix(name.slice(0, -1)))
  return (name) => {
    const bare = withoutPrefix(name)
    return whole.has(bare) || whole.has(withoutNumber(bare)) || beginnings.some((beginning) => bare.startsWith(beginning))
  }
}

/** RFC 6265bis §4.1.3. */
function withoutPrefix (name: string): string {
  return name.replace(/^__(?:Host-Http|Host|Secure|Http)-/, '')
}

function withoutNumber (name: string): string {
  let end = name.length
  while (end > 0 && isDigit(name.charCodeAt(end - 1))) end--
  if (end === name.length) return name
  while (end > 0 && '._-'.includes(name[end - 1]!)) end--
  return name.slice(0, end)
}

function isDigit (code: number): boolean {
  return code >= 48 && code <= 57
}

const [SEMICOLON, COMMA, EQUALS] = [59, 44, 61]

/**
 * The first cookie of the field that counts, by its name; null: none does. Some proxies join two fields by a comma, and some
 * parsers take it for a separator, so a name behind a comma is a name, too.
 */
export function countedCookie (field: string | readonly string[], counts: CookieRule): string | null {
  const text = typeof field === 'string' ? field : field.join(';')
  let begin = 0
  let equals = -1
  let isBehindComma = false
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? SEMICOLON : text.charCodeAt(at)
    if (code === EQUALS && equals === -1) equals = at
    if (code !== SEMICOLON && code !== COMMA) continue
    // Without "=" it is the value of a cookie that has no name; or, behind a comma, more of the last one's.
    const isThere = equals !== -1 || (!isBehindComma && text.slice(begin, at).trim() !== '')
    const name = equals === -1 ? '' : text.slice(begin, equals).trim()
    if (isThere && counts(name)) return name
    begin = at + 1
    equals = -1
    isBehindComma = code === COMMA
  }
  return null
}

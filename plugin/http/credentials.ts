// Header fields that say who asks, beside Authorization and Cookie: a request with one of them is somebody's own.

/**
 * Header fields that say who asks, in lower case. A request that has one of them with a value bypasses the cache, until the
 * route says how users are told apart. Longer by the option `credentials`, of the plugin and of routes.
 */
export const CREDENTIAL_HEADERS: readonly string[] = Object.freeze([
  // Keys and tokens
  'token', 'x-token', 'authentication', 'x-serverless-authorization', 'x-forwarded-authorization', 'x-original-authorization',
  'x-app-token', 'dd-api-key', 'session-id', 'x-session-key', 'x-jwt-payload', 'x-shopify-customer-access-token', 'x-hasura-role',
  'proxy-authorization', 'x-authorization', 'x-api-key', 'api-key', 'apikey', 'x-apikey', 'x-api-token', 'x-auth-token', 'x-auth-key',
  'x-auth', 'x-access-token', 'x-access-key', 'access-token', 'x-id-token', 'x-user-token', 'x-session-token', 'x-session-id',
  'x-session', 'x-jwt', 'x-jwt-assertion', 'x-client-secret', 'dpop', 'signature-input', 'private-token', 'x-gitlab-token', 'x-goog-api-key',
  'x-amz-security-token', 'x-functions-key', 'ocp-apim-subscription-key', 'x-rapidapi-key', 'x-rapidapi-user', 'x-vault-token',
  'x-shopify-access-token', 'x-hasura-admin-secret', 'x-hasura-user-id', 'x-parse-session-token',
  // The user's identity, as services behind a gateway pass it on
  'x-user', 'x-user-id', 'x-user-name', 'x-user-email', 'x-username', 'x-userinfo', 'x-account-id', 'x-tenant-id', 'x-org-id',
  'x-tenant', 'x-org', 'x-organization', 'x-organization-id', 'x-workspace', 'x-workspace-id', 'x-account', 'x-customer', 'x-customer-id',
  'x-company-id', 'x-team-id', 'x-member-id', 'x-role', 'x-roles', 'x-groups', 'x-user-role', 'x-user-roles', 'x-user-groups',
  'x-auth-userid', 'x-auth-email', 'x-auth-subject', 'x-jwt-claim-sub', 'x-jwt-claim-email', 'x-envoy-user', 'x-impersonate-user',
  // A session, or an app on one device
  'x-csrf-token', 'x-xsrf-token', 'x-firebase-appcheck',
  // Authenticating proxies: oauth2-proxy, Authelia, authentik, Kubernetes, Grafana's auth proxy, Pomerium, Vouch, Tailscale
  'x-forwarded-user', 'x-forwarded-email', 'x-forwarded-preferred-username', 'x-forwarded-groups', 'x-forwarded-access-token',
  'x-auth-request-user', 'x-auth-request-email', 'x-auth-request-preferred-username', 'x-auth-request-groups',
  'x-auth-request-access-token', 'remote-user', 'remote-name', 'remote-email', 'remote-groups', 'x-remote-user', 'x-remote-group',
  'x-authentik-username', 'x-authentik-email', 'x-authentik-name', 'x-authentik-uid', 'x-authentik-groups', 'x-authentik-jwt',
  'x-webauth-user', 'x-webauth-email', 'x-pomerium-jwt-assertion', 'x-pomerium-claim-email', 'x-pomerium-claim-user', 'x-vouch-user',
  'tailscale-user-login', 'tailscale-user-name',
  // Clouds: Cloudflare Access, Google IAP and API Gateway, AWS' load balancer, Azure App Service
  'cf-access-jwt-assertion', 'cf-access-authenticated-user-email', 'cf-access-client-id', 'cf-access-client-secret',
  'x-goog-iap-jwt-assertion', 'x-goog-authenticated-user-id', 'x-goog-authenticated-user-email', 'x-apigateway-api-userinfo',
  'x-endpoint-api-userinfo', 'x-amzn-oidc-data', 'x-amzn-oidc-identity', 'x-amzn-oidc-accesstoken', 'x-ms-client-principal',
  'x-ms-client-principal-id', 'x-ms-client-principal-name', 'x-ms-token-aad-id-token', 'x-ms-token-aad-access-token',
  // Single sign-on: SiteMinder, WebSEAL, Ory, Teleport, mod_auth_openidc; Kubernetes and Kubeflow
  'sm_user', 'iv-user', 'x-kratos-authenticated-identity-id', 'teleport-jwt-assertion', 'oidc_claim_sub', 'impersonate-user',
  'kubeflow-userid', 'x-auth-user', 'x-authenticated-user', 'x-userid',
  // Kong
  'x-consumer-id', 'x-consumer-custom-id', 'x-consumer-username', 'x-credential-identifier', 'x-authenticated-userid',
  'x-authenticated-scope',
  // Client certificates, as a proxy that ends TLS hands them on: RFC 9440, Envoy, nginx, HAProxy, Traefik and clouds
  'ssl-client-subject-dn', 'x-ssl-client-cn', 'x-client-cert-leaf', 'x-client-cert-subject-dn', 'x-client-cert-fingerprint',
  'x-client-cert-spiffe',
  'client-cert', 'client-cert-chain', 'x-forwarded-client-cert', 'x-client-cert', 'x-ssl-client-cert', 'ssl-client-cert', 'x-ssl-cert',
  'x-ssl-client-dn', 'x-ssl-client-s-dn', 'x-ssl-client-subject-dn', 'x-client-dn', 'x-forwarded-tls-client-cert',
  'x-forwarded-tls-client-cert-info', 'x-amzn-mtls-clientcert', 'x-amzn-mtls-clientcert-leaf', 'x-amzn-mtls-clientcert-subject',
  'x-amzn-mtls-clientcert-serial-number', 'x-arr-clientcert'
])

/** The values that proxies send if nobody is logged in: nothing, an empty text in quotes, or Apache's "(null)". */
export function namesNobody (value: string | readonly string[] | undefined): boolean {
  if (value === undefined || value === '') return true
  if (typeof value !== 'string') return value.every(namesNobody)
  const text = value.trim()
  return text === '' || text === '""' || text === '(null)' || text === '-'
}

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

/** Analytics cookies with an account, a site or a property in their name. */
const ANALYTICS_FORMS: readonly RegExp[] = [
  /^_ga_[A-Z0-9]{6,16}$/, /^_gat_(?:gtag_)?UA[_-]\d{1,12}[_-]\d{1,6}$/, /^_dc_gtm_UA-\d{1,12}-\d{1,6}$/,
  /^_gac_(?:UA-\d{1,12}-\d{1,6}|gb_[A-Z0-9-]{6,20})$/, /^_gcl_[a-z]{2}$/,
  /^_pk_(?:id|ref|ses|cvar|hsr)\.\d{1,10}\.[\da-f]{4}$/, /^_hjSession(?:User)?_\d{1,12}$/, /^_ym_visorc_\d{1,12}$/,
  /^Hm_l[vp]t_[\da-f]{32}$/, /^(?:visid_incap|nlbi)_\d{1,12}(?:_\d{1,12})?$/, /^incap_ses_\d{1,12}_\d{1,12}$/
]

/** The default rule: all cookies count but those of analytics and of CDNs. */
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

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
  // Who it is, as services behind a gateway tell each other
  'x-user', 'x-user-id', 'x-user-name', 'x-user-email', 'x-username', 'x-userinfo', 'x-account-id', 'x-tenant-id', 'x-org-id',
  'x-tenant', 'x-org', 'x-organization', 'x-organization-id', 'x-workspace', 'x-workspace-id', 'x-account', 'x-customer', 'x-customer-id',
  'x-company-id', 'x-team-id', 'x-member-id', 'x-role', 'x-roles', 'x-groups', 'x-user-role', 'x-user-roles', 'x-user-groups',
  'x-auth-userid', 'x-auth-email', 'x-auth-subject', 'x-jwt-claim-sub', 'x-jwt-claim-email', 'x-envoy-user', 'x-impersonate-user',
  // Of a session, or of an app on one device
  'x-csrf-token', 'x-xsrf-token', 'x-firebase-appcheck',
  // Authenticating proxies: oauth2-proxy, Authelia, authentik, Kubernetes, Grafana's auth proxy, Pomerium, Vouch, Tailscale
  'x-forwarded-user', 'x-forwarded-email', 'x-forwarded-preferred-username', 'x-forwarded-groups', 'x-forwarded-access-token',
  'x-auth-request-user', 'x-auth-request-email', 'x-auth-request-preferred-username', 'x-auth-request-groups',
  'x-auth-request-access-token', 'remote-user', 'remote-name', 'remote-email', 'remote-groups', 'x-remote-user', 'x-remote-group',
  'x-authentik-username', 'x-authentik-email', 'x-authentik-name', 'x-authentik-uid', 'x-authentik-groups', 'x-authentik-jwt',
  'x-webauth-user', 'x-webauth-email', 'x-pomerium-jwt-assertion', 'x-pomerium-claim-email', 'x-pomerium-claim-user', 'x-vouch-user',
  'tailscale-user-login', 'tailscale-user-name',
  // Of the clouds: Cloudflare Access, Google IAP and API Gateway, AWS' load balancer, Azure App Service
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

/** What proxies send where nobody is logged in: nothing, an empty text in quotes, or Apache's "(null)". */
export function namesNobody (value: string | readonly string[] | undefined): boolean {
  if (value === undefined || value === '') return true
  if (typeof value !== 'string') return value.every(namesNobody)
  const text = value.trim()
  return text === '' || text === '""' || text === '(null)' || text === '-'
}

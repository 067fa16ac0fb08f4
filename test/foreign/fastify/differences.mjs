// Where a result of Fastify's own tests differs from that beside the twin, by name, with the reason. A difference that is
// not here fails, as does one of these that is gone.

export const REASONS = {
  hooks: 'the test counts hooks or looks at them: a cached route has hooks of ours, and its handler is wrapped',
  runs: 'the test counts runs of a handler, or has it answer otherwise the second time: the second answer is a hit',
  lines: 'the test counts lines of the log: the plugin writes some, and a handler that throws behind hijack() is not complained of'
}

/** How many answers carry a Cache-Status, at least, where every GET route is cached. */
export const MARKED = 1040

/** How many tests are run, at least, beside each. */
export const TESTS = 2440

/** Those that fail beside any plugin with the hooks of this one: they count hooks, print them, or have none run. */
export const FAILING_BESIDE_ANY = {
  'test/content-type-parser-async-context.test.js': ['content type parser callbacks restore request context and destroy their resources'],
  'test/diagnostics-channel/async-error-handler.test.js': ['(the file)'],
  'test/hooks.test.js': ['onRequest hook should support encapsulation / 2', 'onSend hook should support encapsulation / 1'],
  'test/pretty-print.test.js': ['pretty print - empty plugins', 'pretty print - includeMeta, includeHooks'],
  'test/reply-error.test.js': [
    '\'*\' should throw an error due to serializer can not handle the payload type',
    'should throw an error if the custom serializer does not serialize the payload to a valid type'
  ]
}

export const DIFFERENCES = {
  uncached: {},
  cached: {
    'test/close-pipelining.test.js': { 'Should return 503 while closing - pipelining': 'runs' },
    'test/custom-querystring-parser.test.js': {
      'Custom querystring parser': 'runs',
      'Custom querystring parser should be called also if there is nothing to parse': 'runs',
      'Querystring without value': 'runs'
    },
    'test/decorator.test.js': {
      'decorateRequest with getter/setter can handle encapsulation': 'runs',
      'decorateRequest with getter/setter can handle encapsulation with arrays': 'runs'
    },
    'test/hooks.test.js': {
      'onRoute hook should preserve handler function in options of shorthand route system configuration': 'hooks'
    },
    'test/https/https.test.js': { 'https - headers > https get request - test port fall back': 'runs' },
    'test/internals/initial-config.test.js': { 'Should not have issues when passing stream options to Pino.js': 'lines' },
    'test/internals/logger.test.js': {
      'The logger should add a unique id for every request': 'runs',
      '(the file)': 'runs'
    },
    'test/internals/reply-serialize.test.js': {
      'Reply#compileSerializationSchema > Should reuse the serialize fn across multiple invocations - Route without schema': 'runs'
    },
    'test/internals/request-validate.test.js': {
      '#compileValidationSchema > Should reuse the validate fn across multiple invocations - Route without schema': 'runs',
      'Nested Context > Level_1 > #compileValidationSchema > Should reuse the validate fn across multiple invocations - Route without schema': 'runs'
    },
    'test/logger/options.test.js': { 'logger options > Should set a custom logLevel for every plugin': 'lines' },
    'test/logger/request.test.js': { 'request > should redact the authorization header if so specified': 'lines' },
    'test/route.8.test.js': { 'exposeHeadRoute should not reuse the same route option': 'hooks' },
    'test/router-options.test.js': {
      'Should honor routerOptions.useSemicolonDelimiter': 'runs',
      'Should honor routerOptions.useSemicolonDelimiter over useSemicolonDelimiter option': 'runs'
    },
    'test/same-shape.test.js': {
      'same shape on Request when object': 'runs',
      'same shape on Reply': 'runs',
      'same shape on Reply when object': 'runs'
    },
    'test/schema-serialization.test.js': { 'Different content types': 'runs' },
    'test/skip-reply-send.test.js': {
      'Hijacking inside handler skips all the following hooks and handler execution > Throwing an error does not trigger any hooks': 'lines'
    }
  }
}

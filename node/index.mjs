// The package for ECMAScript modules: the same classes as for CommonJS, so that an error is an instance of either's.
import failsoft from './index.js'

export const {
  Router,
  FailsoftError,
  ConfigError,
  InvalidArgument,
  Unavailable,
  DeadlineExceeded,
  Reentrant,
  WriteRefused,
  Closed,
  Forked,
  InternalError,
  version
} = failsoft

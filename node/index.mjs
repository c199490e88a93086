// The package for ECMAScript modules. The classes are those of the CommonJS package, so `instanceof` works across both.
import failsoft from './index.js'

export const {
  Router,
  FailsoftError,
  ConfigError,
  InvalidArgument,
  Unavailable,
  DeadlineExceeded,
  Shed,
  Reentrant,
  WriteRefused,
  InvalidationIncomplete,
  Closed,
  Forked,
  InternalError,
  version
} = failsoft

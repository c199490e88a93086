// The same types for ECMAScript modules.
export * from './index.js'

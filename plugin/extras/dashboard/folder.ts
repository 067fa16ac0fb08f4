// The folder of this module's files, in source and in the ESM form. The CommonJS form has no import.meta, so the build puts
// another file in this one's place.
// @ts-ignore
export const folder: string = import.meta.dirname

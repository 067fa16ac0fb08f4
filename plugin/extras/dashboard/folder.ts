// Where this module's files are, in source and in the ESM form. In the CommonJS form, which has no import.meta, the build
// puts another file in this one's place.
// @ts-ignore
export const folder: string = import.meta.dirname

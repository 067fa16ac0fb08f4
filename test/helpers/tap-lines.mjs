// Which lines of TAP a person reads: everything that is not ok, with its details, and the end of each file.

/** A function that is given one line after the other, and says whether to show it. */
export function lineFilter () {
  let isDetail = false
  let before = ''
  return (line) => {
    const isFailure = /^\s*not ok /.test(line)
    if (/^\s*---$/.test(line)) isDetail = /^\s*not ok /.test(before)
    const isShown = isDetail || isFailure || isEndOfTest(line) || line.startsWith('Bail out!')
    if (/^\s*\.\.\.$/.test(line)) isDetail = false
    before = line
    return isShown
  }
}

/** Of a file, where tap runs several; of a subtest, where Node runs one file. */
export function isEndOfTest (line) {
  return /^(?:not )?ok /.test(line)
}

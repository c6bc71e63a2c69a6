// Whether the server of this container answers: the PDS on 80, the directory on 2582.
const answers = await Promise.all(
  ['http://127.0.0.1/xrpc/_health', 'http://127.0.0.1:2582/_health'].map((url) =>
    fetch(url, { signal: AbortSignal.timeout(4000) }).then(
      (answer) => answer.ok,
      () => false,
    ),
  ),
)
process.exit(answers.includes(true) ? 0 : 1)

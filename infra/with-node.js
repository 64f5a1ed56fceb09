// Runs one of this project's TypeScript programs on Node 24, whatever Node started it:
//
//   node infra/with-node.js SCRIPT.ts [ARGUMENTS]
//
// This file keeps to syntax that old versions can read, so that they get as far as the message.
const major = Number(process.versions.node.split('.')[0])
if (major < 20) {
  process.stderr.write(
    `Brigade needs Node 20 or newer to start (it then brings Node 24 itself); this is Node ${process.versions.node}.\nInstall a newer one from https://nodejs.org/, or run it in containers: docker compose up --build --wait\n`,
  )
  process.exit(1)
}

import('./run-script.js')
  .then((module) => module.runScript(process.argv.slice(2)))
  .catch((error) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`)
    process.exit(1)
  })

// An announce by the client of npm's bittorrent-tracker: node bittorrent_tracker.mjs FOLDER URL INFO_HASH
//
// FOLDER is where npm has installed it. Prints `update {…}` and `peer ADDR:PORT` for what the tracker answers, and ends once both have come.
import { register } from 'node:module'
import { join } from 'node:path'

// What it needs for WebRTC is a native library, and no part of this.
const hooks = `export const resolve = (name, context, next) => name.includes('simple-peer')
  ? { url: 'data:text/javascript,export default class {}', shortCircuit: true }
  : next(name, context)`
register('data:text/javascript,' + encodeURIComponent(hooks))

const [folder, url, infoHash] = process.argv.slice(2)
const { default: Client } = await import(join(folder, 'node_modules/bittorrent-tracker/client.js'))
const client = new Client({ infoHash, peerId: '2d575730303037ff3132333435363738393a3b3c', announce: [url], port: 6881 })
const awaited = new Set(['update', 'peer'])
const heard = (what, text) => {
  console.log(what, text)
  awaited.delete(what)
  if (awaited.size === 0) client.destroy(() => process.exit(0))
}
const fail = error => {
  console.log('error', error.message)
  process.exit(1)
}
client.on('error', fail)
client.on('warning', fail)
client.on('update', data => heard('update', JSON.stringify({ complete: data.complete, incomplete: data.incomplete })))
client.on('peer', address => heard('peer', address))
client.start({ uploaded: 0, downloaded: 0, left: 1000 })

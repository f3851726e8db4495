// Puts a .br and a .gz beside each file that they make smaller, so that the agent never compresses anything itself.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

let total = 0
for (const entry of readdirSync('dist', { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || /\.(br|gz)$/.test(entry.name)) continue
  const path = join(entry.parentPath ?? entry.path, entry.name)
  const data = readFileSync(path)
  const gzip = gzipSync(data, { level: 9 })
  const brotli = brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })
  if (gzip.length < data.length) writeFileSync(`${path}.gz`, gzip)
  if (brotli.length < data.length) writeFileSync(`${path}.br`, brotli)
  total += Math.min(gzip.length, data.length)
  console.log(`${String(data.length).padStart(8)} ${String(gzip.length).padStart(7)} gz  ${path}`)
}
console.log(`${total} bytes in all, gzipped`)

// The agent's binary carries it, and a phone loads it.
const MOST = 150_000
if (total > MOST) {
  console.error(`that is more than ${MOST}`)
  process.exit(1)
}

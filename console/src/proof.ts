// The root that an entry's proof leads to (RFC 9162, 2.1.3.2), calculated here: a log that lies is not believed.
interface Proof {
  index: number
  size: number
  leafHash: string
  hashes: string[]
}

/** In base64, as the checkpoint has it; empty where the proof is none for this place. */
export async function rootOf({ index, size, leafHash, hashes }: Proof): Promise<string> {
  let [place, last] = [BigInt(index), BigInt(size) - 1n]
  if (place > last) return ""
  let root = bytesOf(leafHash)
  for (const each of hashes.map(bytesOf)) {
    if (last === 0n) return ""
    if ((place & 1n) === 1n || place === last) {
      root = await nodeOf(each, root)
      while ((place & 1n) === 0n && place !== 0n) [place, last] = [place >> 1n, last >> 1n]
    } else {
      root = await nodeOf(root, each)
    }
    ;[place, last] = [place >> 1n, last >> 1n]
  }
  return last === 0n ? btoa(String.fromCharCode(...root)) : ""
}

async function nodeOf(left: Uint8Array, right: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array([1, ...left, ...right])))
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))
}

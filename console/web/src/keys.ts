// Keys of the asset map, as the manual has them (docs/manual/map.md).

const kinds = /^(?:domain|host|service|certificate|technology|unit|system|network)\/./;

/** The key of what somebody writes: a key, an address with or without a port, a network, a certificate's SHA-256, or a name. */
export function keyOf(text: string): string {
  const s = text.trim();
  const [, v4, v6, port, transport] = /^(?:(\d+(?:\.\d+){3})|\[([0-9a-f:.]+)\]):(\d+)(?:\/(tcp|udp))?$/i.exec(s) ?? [];
  if (kinds.test(s)) return s;
  if (port) return `service/${(v4 ?? v6 ?? '').toLowerCase()}/${transport?.toLowerCase() ?? 'tcp'}/${port}`;
  if (/^[0-9a-f]{64}$/i.test(s)) return `certificate/${s.toLowerCase()}`;
  if (/^[0-9a-f:.]+\/\d+$/i.test(s)) return `network/${s.toLowerCase()}`;
  if (/^\d+(?:\.\d+){3}$/.test(s) || s.includes(':')) return `host/${s.toLowerCase()}`;
  return `domain/${s.toLowerCase().replace(/\.$/, '')}`;
}

export const kindOf = (key: string) => key.slice(0, key.indexOf('/'));

/** What a key names, as people write it. */
export function sayKey(key: string): string {
  const kind = kindOf(key);
  const rest = key.slice(kind.length + 1);
  const [address = '', transport, port] = rest.split('/');
  if (kind === 'service' && transport && port) return `${address.includes(':') ? `[${address}]` : address}:${port}/${transport}`;
  if (kind === 'certificate') return `${rest.slice(0, 12)}…`;
  return kinds.test(key) ? rest : key;
}

/** The thing of the map that a difference is about: it may be named by a key of the whitelist. */
export function thingOf(key: string): string | undefined {
  const [, prefix, address = '', bits = '', rest = ''] = /^(host|port)\/([0-9a-f:.]+)\/(\d+)(?:\/(\w+\/\d+))?$/i.exec(key) ?? [];
  if (!prefix) return kinds.test(key) && !key.includes('*') ? key : undefined;
  if (bits !== (address.includes(':') ? '128' : '32')) return undefined;
  return rest ? `service/${address}/${rest}` : `host/${address}`;
}

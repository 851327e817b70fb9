import type { Graph } from './api/client';
import { useLanguage } from './i18n';
import { kindOf, sayKey } from './keys';

const [nodeWidth, nodeHeight, gapX, gapY, margin] = [230, 26, 110, 12, 8];
const mostDrawn = 150;

const colors: Record<string, string> = {
  unit: '#8c5a3c', system: '#a8471f', network: '#7a6f69', domain: '#1f6fa8', host: '#2f7d5b', service: '#6a4fa3', certificate: '#b07c10', technology: '#4a6572',
};

interface Placed {
  key: string;
  x: number;
  y: number;
  row: number;
}

/** Columns by distance from the root; within one, near what a thing is linked with. */
function layout(graph: Graph): Map<string, Placed> {
  const placed = new Map<string, Placed>();
  const drawn = graph.nodes.slice(0, mostDrawn); // the nearest
  const neighbours = new Map<string, string[]>();
  for (const l of graph.links) {
    neighbours.set(l.from, [...(neighbours.get(l.from) ?? []), l.to]);
    neighbours.set(l.to, [...(neighbours.get(l.to) ?? []), l.from]);
  }
  const columns = new Map<number, Graph['nodes']>();
  for (const n of drawn) columns.set(n.depth, [...(columns.get(n.depth) ?? []), n]);
  const highest = Math.max(...[...columns.values()].map((c) => c.length));
  const step = nodeHeight + gapY;
  for (const [depth, nodes] of [...columns].sort(([a], [b]) => a - b)) {
    const near = (key: string) => {
      const rows = (neighbours.get(key) ?? []).flatMap((n) => placed.get(n)?.row ?? []);
      return rows.length > 0 ? rows.reduce((a, b) => a + b) / rows.length : highest;
    };
    const order = nodes.map((n) => ({ n, at: near(n.key) })).sort((a, b) => a.at - b.at || a.n.kind.localeCompare(b.n.kind) || a.n.key.localeCompare(b.n.key));
    const top = (highest - nodes.length) / 2;
    order.forEach(({ n }, i) => placed.set(n.key, { key: n.key, x: margin + depth * (nodeWidth + gapX), y: margin + (top + i) * step, row: top + i }));
  }
  return placed;
}

const short = (text: string) => ([...text].length > 26 ? `${[...text].slice(0, 25).join('')}…` : text);

/** The graph as a picture. The table beside it says the same, and more, in words. */
export function GraphPicture({ graph, href }: { graph: Graph; href: (key: string) => string }) {
  const { t } = useLanguage();
  const placed = layout(graph);
  const all = [...placed.values()];
  const width = Math.max(...all.map((p) => p.x)) + nodeWidth + 60;
  const height = Math.max(...all.map((p) => p.y)) + nodeHeight + margin;
  const titles = new Map(graph.nodes.map((n) => [n.key, n.title ?? sayKey(n.key)]));
  return (
    <div className="picture" aria-hidden="true">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`}>
        {graph.links.map((l) => {
          const [a, b] = [placed.get(l.from), placed.get(l.to)];
          return a && b && <path key={`${l.from} ${l.kind} ${l.to}`} d={curve(a, b)} className={l.current ? 'edge' : 'edge ended'}><title>{t.edgeKinds[l.kind] ?? l.kind}</title></path>;
        })}
        {all.map((p) => (
          <a key={p.key} href={href(p.key)} tabIndex={-1}>
            <rect x={p.x} y={p.y} width={nodeWidth} height={nodeHeight} rx={4} fill={colors[kindOf(p.key)] ?? '#555'} className={p.key === graph.root ? 'root' : ''} />
            <text x={p.x + 8} y={p.y + 17}><tspan className="kind">{t.nodeKinds[kindOf(p.key)] ?? kindOf(p.key)}</tspan> {short(titles.get(p.key) ?? '')}</text>
            <title>{p.key}</title>
          </a>
        ))}
      </svg>
    </div>
  );
}

/** From side to side, or around the right of things in one column. */
function curve(a: Placed, b: Placed): string {
  const [ya, yb] = [a.y + nodeHeight / 2, b.y + nodeHeight / 2];
  if (a.x === b.x) {
    const x = a.x + nodeWidth;
    return `M${x},${ya} C${x + 50},${ya} ${x + 50},${yb} ${x},${yb}`;
  }
  const [left, right] = a.x < b.x ? [a, b] : [b, a];
  const [x1, y1, x2, y2] = [left.x + nodeWidth, left.y + nodeHeight / 2, right.x, right.y + nodeHeight / 2];
  return `M${x1},${y1} C${x1 + gapX / 2},${y1} ${x2 - gapX / 2},${y2} ${x2},${y2}`;
}

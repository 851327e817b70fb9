import type { AssetField } from './api/client';

/** Where in a query somebody writes, and what is expected there. */
export interface Place {
  expects: 'field' | 'operator' | 'value' | 'joiner';
  from: number; // of the word that is being written, up to the caret
  to: number;
  word: string;
  field: string; // that an operator or a value is for
}

/** Something that can be written there. */
export interface Offer {
  text: string; // what is written
  hint: string;
}

// The words of a query, as the API reads them. A * belongs to a word unless it begins *=.
const tokens = /\s+|"(?:[^"\\]|\\.)*"?|&&|\|\||==|!=|\*=|<=|>=|[=<>!()]|[^\s=<>!()"&|]+?(?=\*=)|[^\s=<>!()"&|]+|./gsu;
const isOperator = (s: string | undefined) => s !== undefined && /^(?:==|!=|\*=|<=|>=|[=<>])$/.test(s);
const isWord = (s: string | undefined) => s !== undefined && /^(?:"|[^\s=<>!()"&|])/.test(s) && !/^(?:and|or|not)$/i.test(s);
const isWhole = (s: string) => /^"(?:[^"\\]|\\.)*"$/s.test(s);

export function placeIn(text: string, caret: number): Place {
  const before: string[] = [];
  let [word, from] = ['', caret];
  for (const found of text.slice(0, caret).matchAll(tokens)) {
    const s = found[0];
    if (found.index + s.length === caret && isWord(s) && !isWhole(s)) [word, from] = [s, found.index];
    else if (s.trim()) before.push(s);
  }
  const rest = word === '' || word.startsWith('"') ? '' : (/^[^\s=<>!()"&|*]*/.exec(text.slice(caret))?.[0] ?? '');
  const place = { from, to: caret + rest.length, word };
  const [last, second] = [before.at(-1), before.at(-2)];
  if (isOperator(last)) return { ...place, expects: 'value', field: second ?? '' };
  if (isWord(last) && word === '') return { ...place, expects: isOperator(second) ? 'joiner' : 'operator', field: last ?? '' };
  if (last === ')' && word === '') return { ...place, expects: 'joiner', field: '' };
  return { ...place, expects: 'field', field: '' };
}

export function fieldNamed(fields: readonly AssetField[], name: string): AssetField | undefined {
  const lower = name.toLowerCase();
  return fields.find((f) => f.name === lower || f.aliases.includes(name));
}

const most = 12;

/** What can be written at a place; values are those that a field has, the most frequent first. */
export function offersAt(place: Place, fields: readonly AssetField[], values: readonly Offer[], language: 'zh' | 'en'): Offer[] {
  const word = place.word.replace(/^"/, '').toLowerCase();
  const begins = (...texts: string[]) => texts.some((s) => s.toLowerCase().startsWith(word));
  const field = fieldNamed(fields, place.field);
  switch (place.expects) {
    case 'value':
      return values.filter((v) => v.text.toLowerCase().includes(word)).slice(0, most);
    case 'operator':
      return (field?.operators ?? []).map((text) => ({ text, hint: '' }));
    case 'joiner':
      return [{ text: '&&', hint: '' }, { text: '||', hint: '' }];
  }
  const says = (f: AssetField) => (language === 'zh' ? [f.aliases.join('、'), f.zh].filter(Boolean).join(' · ') : f.en);
  const near = fields.filter((f) => begins(f.name, ...f.aliases));
  const far = fields.filter((f) => !near.includes(f) && word !== '' && says(f).toLowerCase().includes(word));
  return [...near, ...far].slice(0, word === '' ? fields.length : most).map((f) => ({ text: f.name, hint: says(f) }));
}

/** A value as it is written in a query. */
export function quote(value: string): string {
  return /^[\p{L}\p{N}_.:/-]+$/u.test(value) && !/^(?:and|or|not)$/i.test(value) ? value : `"${value.replace(/[\\"]/g, '\\$&')}"`;
}

/** A query with an offer taken, and where the caret is then. */
export function take(text: string, place: Place, offer: Offer): { text: string; caret: number } {
  const head = `${text.slice(0, place.from)}${place.expects === 'value' ? quote(offer.text) : offer.text} `;
  return { text: head + text.slice(place.to).trimStart(), caret: head.length };
}

/** A query that also asks for one value of a field; undefined where no query can. */
export function narrowed(query: string, field: AssetField, value: string): string | undefined {
  if (value === '' && (field.type === 'address' || field.type === 'hash')) return undefined;
  const exact = field.type === 'text' || field.type === 'list' || field.type === 'word';
  const condition = `${field.name} ${exact ? '==' : '='} ${quote(value)}`;
  if (query.trim() === '') return condition;
  const whole = /\|\||\bor\b/i.test(query) ? `(${query.trim()})` : query.trim();
  return `${whole} && ${condition}`;
}

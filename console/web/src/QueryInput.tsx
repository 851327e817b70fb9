import { useQuery } from '@tanstack/react-query';
import { Alert, Button, Input, Space, type InputRef } from 'antd';
import { useEffect, useId, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react';

import { ApiError, call, type AssetField } from './api/client';
import { fieldNamed, offersAt, placeIn, take, type Offer } from './complete';
import { sayProblem, useLanguage } from './i18n';

interface Props {
  id: string;
  query: string;
  fields: readonly AssetField[];
  loading: boolean;
  error: unknown;
  onSearch: (query: string) => void;
}

/** A query of the asset search, completed while it is written. */
export function QueryInput({ id, query, fields, loading, error, onSearch }: Props) {
  const { t, language } = useLanguage();
  const list = useId();
  const input = useRef<InputRef>(null);
  const moveTo = useRef<number>(undefined);
  const [text, setText] = useState(query);
  const [caret, setCaret] = useState(0);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  useEffect(() => setText(query), [query]);
  useLayoutEffect(() => {
    if (moveTo.current !== undefined) input.current?.input?.setSelectionRange(moveTo.current, moveTo.current);
    moveTo.current = undefined;
  }, [text]);

  const place = placeIn(text, caret);
  const values = useValues(open && place.expects === 'value' ? fieldNamed(fields, place.field) : undefined);
  const offers = open ? offersAt(place, fields, values, language) : [];

  const show = (caret: number) => {
    setCaret(caret);
    setActive(-1);
    setOpen(true);
  };
  const accept = (offer: Offer) => {
    const taken = take(text, place, offer);
    moveTo.current = taken.caret;
    setText(taken.text);
    show(taken.caret);
  };
  const search = () => {
    setOpen(false);
    onSearch(text.trim());
  };
  const onKeyDown = (e: KeyboardEvent<HTMLInputElement>) => {
    const chosen = offers[active];
    if (e.nativeEvent.isComposing) return; // Enter ends a Chinese word
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault();
      if (!open) return show(e.currentTarget.selectionStart ?? text.length);
      const step = e.key === 'ArrowDown' ? 1 : -1;
      setActive((active + step + offers.length + (active < 0 && step < 0 ? 1 : 0)) % Math.max(offers.length, 1));
    } else if ((e.key === 'Enter' || e.key === 'Tab') && chosen) {
      e.preventDefault();
      accept(chosen);
    } else if (e.key === 'Enter') {
      search();
    } else if (e.key === 'Escape') {
      setOpen(false);
    }
  };
  const wrong = error instanceof ApiError;
  return (
    <div className="query">
      <Space.Compact block>
        <Input
          id={id}
          ref={input}
          className="mono"
          value={text}
          allowClear
          maxLength={16384}
          spellCheck={false}
          autoComplete="off"
          placeholder={t.searchAssetsHint}
          status={wrong ? 'error' : ''}
          role="combobox"
          aria-label={t.assetSearch}
          aria-expanded={offers.length > 0}
          aria-controls={list}
          aria-autocomplete="list"
          aria-activedescendant={offers[active] ? `${list}-${active}` : undefined}
          aria-invalid={wrong}
          aria-describedby={wrong ? `${list}-wrong` : undefined}
          onChange={(e) => {
            setText(e.target.value);
            show(e.target.selectionStart ?? e.target.value.length);
          }}
          onClick={(e) => show(e.currentTarget.selectionStart ?? text.length)}
          onKeyDown={onKeyDown}
          onBlur={() => setOpen(false)}
        />
        <Button type="primary" loading={loading} onClick={search}>{t.search}</Button>
      </Space.Compact>
      <ul id={list} role="listbox" aria-label={t.completions} className="offers" hidden={offers.length === 0}>
        {offers.map((offer, n) => (
          <li
            key={offer.text}
            id={`${list}-${n}`}
            role="option"
            aria-selected={n === active}
            ref={n === active ? (row) => row?.scrollIntoView({ block: 'nearest' }) : undefined}
            onMouseDown={(e) => e.preventDefault()} // the input keeps the focus
            onClick={() => accept(offer)}
          >
            <span className="mono">{offer.text}</span> <span>{offer.hint}</span>
          </li>
        ))}
      </ul>
      {wrong && <div id={`${list}-wrong`}><Mistake query={query} error={error} /></div>}
    </div>
  );
}

/** The values of a field: those that it can have, or else those that assets have. */
function useValues(field: AssetField | undefined): Offer[] {
  const { t } = useLanguage();
  const fixed = field?.values ?? [];
  const learnt = useQuery({
    queryKey: ['search-values', field?.name],
    queryFn: () => call('get', '/api/v1/search/aggregate', { query: { by: field?.name, limit: 200 } }),
    enabled: field !== undefined && fixed.length === 0 && (field.type === 'word' || field.type === 'list') && field.name !== 'cert',
    staleTime: 60_000,
  });
  if (fixed.length > 0) return fixed.map((text) => ({ text, hint: t.driftKinds[text] ?? t.exposures[text] ?? t.assetKinds[text] ?? '' }));
  return (learnt.data?.buckets ?? []).filter((b) => b.value !== '').map((b) => ({ text: b.value, hint: t.assetCount(b.count) }));
}

const around = 60; // characters beside a mistake that are shown

/** A mistake, and the character of the query at which it is. */
export function Mistake({ query, error }: { query: string; error: ApiError }) {
  const { t } = useLanguage();
  const { code, column } = error.problem;
  const characters = [...query];
  const at = (column ?? 1) - 1;
  return (
    <Alert
      type="error"
      showIcon
      style={{ margin: '12px 0' }}
      title={sayProblem(t, error)}
      description={code === 'query' && (
        <span className="mono wrap">
          {at > around && '…'}{characters.slice(Math.max(0, at - around), at).join('')}
          <mark>{characters[at] ?? '␣'}</mark>
          {characters.slice(at + 1, at + around).join('')}{characters.length > at + around && '…'}
        </span>
      )}
    />
  );
}

package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// scanPage is how many documents are decoded together.
const scanPage = 512

// ScanDocs reads the newest version of every document of a table, and calls f for
// each, one after the other, in the order they come. Decoding is most of the work:
// all processors take part in it, a few pages ahead of f, each with a decoder of its
// own, whose documents are empty before.
func ScanDocs[T any](ctx context.Context, db *DB, table string, decoder func() func(text []byte, doc *T) error, f func(*T) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	pages := make(chan *docPage[T], runtime.GOMAXPROCS(0))
	var read error // written before pages is closed
	go func() {
		defer close(pages)
		read = readPages(ctx, db, table, decoder, pages)
	}()
	var failed error
	for p := range pages {
		<-p.decoded
		if failed == nil {
			failed = p.each(f)
		}
		if failed != nil {
			stop() // and wait until the reader has seen it
		}
	}
	if failed == nil && read != nil {
		failed = fmt.Errorf("read %s: %w", table, read)
	}
	return failed
}

// docPage is some documents, as they are read and as they are.
type docPage[T any] struct {
	texts   []string
	docs    []T
	err     error
	decoded chan struct{}
}

func (p *docPage[T]) decode(table string, decode func(text []byte, doc *T) error) {
	defer close(p.decoded)
	p.docs = make([]T, len(p.texts))
	for i, text := range p.texts {
		if err := decode([]byte(text), &p.docs[i]); err != nil {
			p.docs, p.err = p.docs[:i], fmt.Errorf("read %s: a document: %w", table, err)
			break
		}
	}
	p.texts = nil
}

func (p *docPage[T]) each(f func(*T) error) error {
	for i := range p.docs {
		if err := f(&p.docs[i]); err != nil {
			return err
		}
	}
	return p.err
}

func readPages[T any](ctx context.Context, db *DB, table string, decoder func() func(text []byte, doc *T) error, pages chan<- *docPage[T]) (err error) {
	rows, err := db.Query(ctx, "SELECT doc FROM "+table+" FINAL")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	send := func(texts []string) error {
		p := &docPage[T]{texts: texts, decoded: make(chan struct{})}
		select {
		case pages <- p:
			go p.decode(table, decoder())
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var texts []string
	for rows.Next() {
		var doc string
		if err := rows.Scan(&doc); err != nil {
			return err
		}
		if texts = append(texts, doc); len(texts) == scanPage {
			if err := send(texts); err != nil {
				return err
			}
			texts = nil
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return send(texts)
}

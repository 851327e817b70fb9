package parse

import (
	"errors"
	"strings"
	"sync"

	"fengsui/analyzer/parse/structure"
)

// jsonStructure flattens a JSON object: its keys are dotted paths, and a list is
// its key again and again.
type jsonStructure struct{}

type jsonPairs struct {
	walker jsonWalker
	keys   names
	dst    []structure.Pair
	many   bool
}

var jsonPairsPool = sync.Pool{New: func() any { return new(jsonPairs) }}

var errManyValues = errors.New("JSON has too many values")

func (jsonStructure) Append(dst []structure.Pair, text string) ([]structure.Pair, error) {
	p := jsonPairsPool.Get().(*jsonPairs)
	defer func() {
		p.dst, p.many = nil, false
		p.walker.forget()
		jsonPairsPool.Put(p)
	}()
	p.dst = dst
	err := p.walker.walk(text, p)
	if err == nil && p.many {
		err = errManyValues
	}
	return p.dst, err
}

func (p *jsonPairs) visit(path []byte, v *jsonValue) {
	key := p.keys.of(path)
	switch v.kind {
	case jsonNull:
	case jsonList:
		for i := range v.list {
			p.add(key, v.list[i].text)
		}
	default:
		p.add(key, v.text)
	}
}

func (p *jsonPairs) add(key, value string) {
	if p.many = p.many || len(p.dst) >= 2*structure.MaxPairs; !p.many {
		p.dst = append(p.dst, structure.Pair{Key: key, Value: value})
	}
}

// sdStructure reads RFC 5424's structured data: the parameters of all elements.
type sdStructure struct{}

var errNoData = errors.New("no structured data")

func (sdStructure) Append(dst []structure.Pair, text string) ([]structure.Pair, error) {
	before := len(dst)
	var params []sdParam
	for strings.HasPrefix(text, "[") {
		id, found, n := sdElement(text, params[:0])
		if n == 0 {
			break
		}
		params = found
		dst = append(dst, structure.Pair{Key: "sd_id", Value: id})
		for _, p := range params {
			dst = append(dst, structure.Pair{Key: p.name, Value: p.value})
		}
		if len(dst) > 2*structure.MaxPairs {
			return dst, errManyValues
		}
		text = text[n:]
	}
	if len(dst) == before {
		return dst, errNoData
	}
	return dst, nil
}

// patternReader reads by patterns.
type patternReader struct{ patterns *structure.Patterns }

var errNoPattern = errors.New("no pattern matches")

func (p patternReader) Append(dst []structure.Pair, text string) ([]structure.Pair, error) {
	out, which := p.patterns.Append(dst, text)
	if which < 0 {
		return out, errNoPattern
	}
	return out, nil
}

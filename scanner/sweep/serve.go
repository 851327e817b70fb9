package sweep

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// The exit statuses of a helper.
const (
	ExitDone    = 0
	ExitFailed  = 1
	ExitRefused = 2 // nothing was sent
	ExitOrphan  = 3 // the input ended
)

// Serve is the helper's side: it reads and checks one request, has it worked on,
// writes what is said and how it ended, and returns the exit status. While that
// goes on, the end of the input ends the whole process at once, after cleanup.
func Serve(input io.Reader, output io.Writer, cleanup func(), work func(*Shard, func(Line)) (Result, error)) int {
	in := bufio.NewReaderSize(input, 64<<10)
	out := &speaker{to: bufio.NewWriter(output)}
	shard, err := readRequest(in)
	var result Result
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, in) // however it ends, the parent is gone
			cleanup()
			os.Exit(ExitOrphan)
		}()
		result, err = work(shard, out.say)
	}
	cleanup()
	if err == nil {
		err = out.end(Line{Done: true, Result: &result})
	}
	if err == nil {
		return ExitDone
	}
	_ = out.end(Line{Error: err.Error()}) // standard error and the status say it too
	fmt.Fprintf(os.Stderr, "%v\n", err)
	if errors.Is(err, ErrRefused) {
		return ExitRefused
	}
	return ExitFailed
}

func readRequest(in *bufio.Reader) (*Shard, error) {
	line, err := io.ReadAll(io.LimitReader(lineReader{in}, MaxLine+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the request: %w", ErrRefused, err)
	}
	if len(line) > MaxLine {
		return nil, fmt.Errorf("%w: a request of more than %d bytes", ErrRefused, MaxLine)
	}
	var req Request
	if err := json.Unmarshal(line, &req); err != nil {
		return nil, fmt.Errorf("%w: reading the request: %w", ErrRefused, err)
	}
	return req.Check()
}

// lineReader ends at the end of the line.
type lineReader struct{ *bufio.Reader }

func (r lineReader) Read(p []byte) (int, error) {
	for i := range p {
		c, err := r.ReadByte()
		if err != nil || c == '\n' {
			return i, io.EOF
		}
		p[i] = c
	}
	return len(p), nil
}

// speaker writes lines, from any goroutine, until the end.
type speaker struct {
	mu    sync.Mutex
	to    *bufio.Writer
	ended bool
	err   error
}

func (s *speaker) say(l Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.err != nil {
		return
	}
	s.write(l)
}

func (s *speaker) write(l Line) {
	text, err := json.Marshal(l)
	if err == nil {
		_, err = s.to.Write(append(text, '\n'))
	}
	s.err = errors.Join(s.err, err)
}

// end writes the last line, and reports what could not be written.
func (s *speaker) end(l Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.err == nil {
		s.write(l)
	}
	if err := errors.Join(s.err, s.to.Flush()); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

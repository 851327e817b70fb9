package registry

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/width"

	"fengsui/internal/hours"
)

// plain is a cell without what an input method makes of letters, digits and signs:
// ４４３ is 443. Free text is left as it is written.
func (col *column) plain(cell string) string {
	cell = strings.TrimSpace(cell)
	if col.free {
		return cell
	}
	return width.Fold.String(cell)
}

// without are the ways to write that something has no end, or no beginning.
var without = []string{"长期", "永久", "长期有效", "永久有效", "立即"}

// days are the ways to write a day, and a time of it, in China, wherever the server
// keeps its clock.
var days = []string{
	time.RFC3339, time.DateOnly, "2006-1-2", "2006/1/2", "2006.1.2", "20060102", "2006年1月2日", "2006年1月2号",
	time.DateTime, "2006-01-02T15:04:05", "2006-1-2 15:04", "2006/1/2 15:04", "2006/1/2 15:04:05",
	"01-02-06", // how Excel shows a day of its own
}

func date(column, s string) (time.Time, error) {
	if s == "" || slices.Contains(without, s) {
		return time.Time{}, nil
	}
	text := s
	if strings.Contains(s, "年") {
		text = strings.Join(strings.Fields(s), "")
	}
	for _, layout := range days {
		if t, err := time.ParseInLocation(layout, text, hours.Zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, bad(column, "%q is no date such as 2026-09-01", "%q 不是 2026-09-01 这样的日期", s)
}

// lines are the rows of a CSV file, with their numbers as a spreadsheet counts
// them: an empty line is a row, which package csv passes over, and a cell of several
// lines is in one.
func lines(text []byte) (rows [][]string, numbers []int, err error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord = -1
	within := 0 // line breaks inside of cells so far
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, numbers, nil
		}
		if wrong := new(csv.ParseError); errors.As(err, &wrong) {
			return nil, nil, bad("", "line %d, byte %d: a \" is extraneous or missing", "第 %d 行第 %d 个字节：多了或少了双引号", wrong.Line, wrong.Column)
		}
		if err != nil {
			return nil, nil, err
		}
		line, _ := r.FieldPos(0)
		rows, numbers = append(rows, row), append(numbers, line-within)
		for _, cell := range row {
			within += strings.Count(cell, "\n")
		}
	}
}

// counted are the numbers of rows that are all there.
func counted(rows [][]string) []int {
	out := make([]int, len(rows))
	for i := range out {
		out[i] = i + 1
	}
	return out
}

// sheetRows are the rows of a sheet as a person sees them: a day whatever its
// format shows of it, and of cells that are merged downwards each with the value.
func sheetRows(f *excelize.File, sh *sheet, name string) ([][]string, error) {
	rows, err := f.GetRows(name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var days []int
	for at, cell := range rows[0] {
		if col := sh.column(strings.TrimSpace(cell)); col != nil && col.day {
			days = append(days, at)
		}
	}
	if unreadable(rows, days) { // to read a sheet again takes as long as the first time
		raw, err := f.GetRows(name, excelize.Options{RawCellValue: true})
		if err != nil {
			return nil, err
		}
		for _, at := range days {
			showDays(rows, raw, at)
		}
	}
	if !hasMerged(f) {
		return rows, nil
	}
	return rows, spread(f, name, rows) // last: excelize holds all of the sheet for it, and would write it anew for more rows
}

// unreadable says whether a day is not shown as one.
func unreadable(rows [][]string, days []int) bool {
	return slices.ContainsFunc(rows[1:], func(row []string) bool {
		return slices.ContainsFunc(days, func(at int) bool {
			if at >= len(row) {
				return false
			}
			_, err := date("", strings.TrimSpace(row[at]))
			return err != nil
		})
	})
}

// hasMerged says whether any sheet has merged cells, as far as the file is held in
// memory; what is not may have.
func hasMerged(f *excelize.File) bool {
	sheets := 0
	merged := false
	f.Pkg.Range(func(path, text any) bool {
		if raw, ok := text.([]byte); ok && strings.HasPrefix(path.(string), "xl/worksheets/sheet") {
			sheets++
			merged = bytes.Contains(raw, []byte("mergeCell"))
		}
		return !merged
	})
	return merged || sheets < f.SheetCount
}

// showDays writes the days of a column in one form.
func showDays(rows, raw [][]string, at int) {
	for i := 1; i < min(len(rows), len(raw)); i++ {
		if at < len(rows[i]) && at < len(raw[i]) {
			rows[i][at] = dayOf(raw[i][at], rows[i][at])
		}
	}
}

// The days from 2000 to 2099, as Excel counts them.
const (
	firstSerial = 36526
	lastSerial  = 73050
)

// dayOf is the day that a cell holds as a number, or else what it shows.
func dayOf(raw, shown string) string {
	n, err := strconv.ParseFloat(raw, 64)
	if err != nil || n < firstSerial || n > lastSerial+1 {
		return shown
	}
	t, err := excelize.ExcelDateToTime(n, false)
	if err != nil {
		return shown
	}
	return t.Round(time.Second).Format(time.DateTime)
}

// spread gives what is merged downwards to every row that has something of its
// own: the file has it in the first alone.
func spread(f *excelize.File, name string, rows [][]string) error {
	merged, err := f.GetMergeCells(name)
	if err != nil {
		return err
	}
	left := len(rows) * len(rows[0]) // areas do not overlap
	own := make([]bool, len(rows))
	for i, row := range rows {
		own[i] = strings.TrimSpace(strings.Join(row, "")) != ""
	}
	for _, m := range merged {
		column, first, err := excelize.CellNameToCoordinates(m.GetStartAxis())
		if err != nil {
			return fmt.Errorf("the merged cells %s: %w", m.GetStartAxis(), err)
		}
		_, last, err := excelize.CellNameToCoordinates(m.GetEndAxis())
		if err != nil {
			return fmt.Errorf("the merged cells %s: %w", m.GetStartAxis(), err)
		}
		if first < 2 || column > len(rows[0]) { // not of the table
			continue
		}
		last = min(last, len(rows))
		if left -= max(last-first, 1); left < 0 {
			return errors.New("its merged cells overlap")
		}
		for i := first; i < last; i++ {
			if !own[i] {
				continue
			}
			for len(rows[i]) < column {
				rows[i] = append(rows[i], "")
			}
			rows[i][column-1] = rows[first-1][column-1]
		}
	}
	return nil
}

// failed are what Excel shows where a formula has no value.
var failed = []string{"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}

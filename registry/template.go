package registry

import (
	"fmt"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"
)

// templateRows is how many rows of the template offer their words to choose from.
const templateRows = 10_000

// WriteTemplate writes an empty workbook to be filled in Chinese: a sheet for
// each kind of entry, where a column of fixed words offers them, and one that
// says what each column is for. ReadFile passes that one over.
func WriteTemplate(w io.Writer) error {
	return workbook(w, func(f *excelize.File) error {
		if err := addSheet(f, "填写说明", guide()); err != nil {
			return err
		}
		if err := f.SetColWidth("填写说明", "A", "F", 24); err != nil {
			return fmt.Errorf("the template: %w", err)
		}
		// As text: Excel would take zeros from codes and make dates of its own.
		text, err := f.NewStyle(&excelize.Style{NumFmt: 49})
		if err != nil {
			return fmt.Errorf("the template: %w", err)
		}
		for i := range sheets {
			if err := addTemplate(f, &sheets[i], text); err != nil {
				return fmt.Errorf("the template's sheet %s: %w", sheets[i].title, err)
			}
		}
		return nil
	})
}

func guide() [][]string {
	out := [][]string{{"工作表", "列", "必填", "可填", "说明", "示例"}}
	for i := range sheets {
		for _, col := range sheets[i].columns {
			must := ""
			if col.must {
				must = "是"
			}
			out = append(out, []string{sheets[i].title, col.title, must, strings.Join(col.words.offered(), "、"), col.help, col.example})
		}
	}
	return out
}

// offered are the words to choose from, in Chinese.
func (w words) offered() []string {
	out := make([]string, len(w))
	for i, one := range w {
		out[i] = one.zh[0]
	}
	return out
}

func addTemplate(f *excelize.File, sh *sheet, text int) error {
	if err := addSheet(f, sh.title, sh.table(&Content{})); err != nil {
		return err
	}
	last, err := excelize.ColumnNumberToName(len(sh.columns))
	if err != nil {
		return err
	}
	if err := f.SetColStyle(sh.title, "A:"+last, text); err != nil {
		return err
	}
	if err := f.SetColWidth(sh.title, "A", last, 18); err != nil {
		return err
	}
	for i, col := range sh.columns {
		if len(col.words) == 0 {
			continue
		}
		name, err := excelize.ColumnNumberToName(i + 1)
		if err != nil {
			return err
		}
		choice := excelize.NewDataValidation(true)
		choice.SetSqref(fmt.Sprintf("%s2:%s%d", name, name, templateRows))
		if err := choice.SetDropList(col.words.offered()); err != nil {
			return err
		}
		if err := f.AddDataValidation(sh.title, choice); err != nil {
			return err
		}
	}
	return f.SetPanes(sh.title, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/console/search"
	"fengsui/internal/clickhouse"
)

// searchFlags are what fengsui search is told.
type searchFlags struct {
	size   int
	fields []string
	by     string
	file   string
	list   bool
}

func newSearch(flags *globalFlags) *cobra.Command {
	var own searchFlags
	cmd := &cobra.Command{
		Use: "search [QUERY]", Short: "按 FOFA 语法检索资产 / search assets by FOFA's syntax", Args: cobra.ArbitraryArgs,
		Example: `  fengsui search 'title = "教务" && city = 郑州 && port = 443'
  fengsui search 'domain = example.edu.cn && whitelisted = false' --export 未登记.xlsx
  fengsui search 'protocol = redis && exposure = no_auth' --agg unit
  fengsui search --list-fields`,
		Long: `按 FOFA 语法检索资产 / search assets by FOFA's syntax

  =  包含（域名含其下，地址可写网段）/ contains; a domain with all below it, an address in a network
  == 全等 / to the letter    !=  不等 / not    *=  通配 * ? / wildcards    < <= > >=
  && || ! ()；无字段的词查标题、名字、地址、横幅、服务器与组件 / a word by itself is looked for in title, names, address, banner, server and app
  字段 / fields: fengsui search --list-fields`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if own.list {
				return listFields(cmd, flags)
			}
			err := runSearch(cmd, flags, &own, strings.Join(args, " "))
			if e, ok := search.IsQueryError(err); ok {
				return usageError{fmt.Errorf("%w\n%s", err, e.Caret())}
			}
			return err
		},
	}
	cmd.Flags().IntVar(&own.size, "size", 100, "rows at most; of --agg, values")
	cmd.Flags().StringSliceVar(&own.fields, "fields", nil, "columns, joined by commas; also banner, cert, header, body")
	cmd.Flags().StringVar(&own.by, "agg", "", "count by this field instead of showing rows")
	cmd.Flags().StringVar(&own.file, "export", "", "write a .csv or .xlsx file, of 100000 rows at most unless --size says fewer")
	cmd.Flags().BoolVar(&own.list, "list-fields", false, "show the fields of the search")
	return cmd
}

func listFields(cmd *cobra.Command, flags *globalFlags) error {
	var fields []search.AssetField
	for _, f := range search.AssetFields() {
		fields = append(fields, *f)
	}
	return show(cmd, flags, fields, []string{"FIELD", "ALIASES", "TYPE", "OPERATORS", "EXAMPLE", "WHAT"}, func(f *search.AssetField) []string {
		return []string{f.Name, strings.Join(f.Aliases, "、"), f.Type, strings.Join(f.Operators, " "), f.Example, f.Chinese + " / " + f.English}
	})
}

func runSearch(cmd *cobra.Command, flags *globalFlags, own *searchFlags, text string) error {
	shown, err := search.Columns(own.fields)
	if err != nil {
		return usageError{fmt.Errorf("--fields: %w", err)}
	}
	most := search.MaxLimit
	switch {
	case own.by != "" && own.file != "":
		return usageError{errors.New("--agg and --export do not go together")}
	case own.by != "":
		most = search.MaxBuckets
		if _, err := search.AssetFieldNamed(own.by); err != nil {
			return usageError{fmt.Errorf("--agg: %w", err)}
		}
	case own.file != "":
		most = search.MaxExport
		if _, err := search.FormatOf(own.file); err != nil {
			return usageError{fmt.Errorf("--export: %w", err)}
		}
		if !cmd.Flags().Changed("size") {
			own.size = most
		}
	}
	if own.size < 1 || own.size > most {
		return usageError{fmt.Errorf("--size: %d is not between 1 and %d", own.size, most)}
	}
	q := search.AssetQuery{Text: text, Now: time.Now(), Limit: own.size}
	if err := q.Check(); err != nil {
		return err
	}
	return withStore(cmd, flags, func(_ *Config, db *clickhouse.DB) error {
		switch {
		case own.by != "":
			return showCounts(cmd, flags, db, q, own.by)
		case own.file != "":
			return exportFound(cmd, flags, db, q, own)
		}
		return showFound(cmd, flags, db, q, shown)
	})
}

func showFound(cmd *cobra.Command, flags *globalFlags, db *clickhouse.DB, q search.AssetQuery, shown []search.Column) error {
	for _, c := range shown {
		q.Long = append(q.Long, c.Name) // those that are long are known by it
	}
	page, err := search.FindAssets(cmd.Context(), db, q)
	if err != nil {
		return err
	}
	var header []string
	for _, c := range shown {
		header = append(header, strings.ToUpper(c.Name))
	}
	if err := show(cmd, flags, page.Items, header, func(f *search.Found) []string {
		var cells []string
		for _, c := range shown {
			cells = append(cells, c.Cell(f))
		}
		return cells
	}); err != nil {
		return err
	}
	if page.Next != "" && !flags.json {
		fmt.Fprintf(cmd.ErrOrStderr(), "仅显示前 %d 条，--size 或 --export 可取更多 / the first %d only: --size or --export gives more\n", q.Limit, q.Limit)
	}
	return nil
}

func showCounts(cmd *cobra.Command, flags *globalFlags, db *clickhouse.DB, q search.AssetQuery, by string) error {
	found, err := search.CountAssets(cmd.Context(), db, q, by)
	if err != nil {
		return err
	}
	if flags.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(found)
	}
	cells := make([][]string, len(found.Buckets))
	for i, b := range found.Buckets {
		cells[i] = []string{strconv.FormatUint(b.Count, 10), b.Value}
	}
	if err := table(cmd.OutOrStdout(), []string{"COUNT", strings.ToUpper(by)}, cells); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "共 %d 项资产，%d 种取值 / %d assets, %d values\n", found.Total, found.Values, found.Total, found.Values)
	return err
}

// exportFound writes the file under another name first, so that a broken one is
// never taken for the whole.
func exportFound(cmd *cobra.Command, flags *globalFlags, db *clickhouse.DB, q search.AssetQuery, own *searchFlags) error {
	format, err := search.FormatOf(own.file)
	if err != nil {
		return usageError{err}
	}
	names := own.fields
	if len(names) == 0 {
		names = search.EveryColumn()
	}
	shown, err := search.Columns(names)
	if err != nil {
		return usageError{err}
	}
	n, err := writeWhole(cmd.Context(), own.file, func(ctx context.Context, w io.Writer) (int, error) {
		return search.Export(ctx, db, q, shown, format, w)
	})
	if err != nil {
		return err
	}
	return out(cmd, flags, map[string]any{"file": own.file, "rows": n}, fmt.Sprintf("已写出 %d 条到 %s / %d rows written to %s", n, own.file, n, own.file))
}

func writeWhole(ctx context.Context, name string, write func(context.Context, io.Writer) (int, error)) (n int, err error) {
	f, err := os.OpenFile(name+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(name + ".part") // the error is ours already
		}
	}()
	n, err = write(ctx, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return n, err
	}
	return n, os.Rename(name+".part", name)
}

package console

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/registry"
)

const (
	maxImport     = 16 << 20 // bytes of a file; a larger one is for the command line
	importTimeout = 2 * time.Minute
)

func (c *Console) registerRegistryFiles() {
	in := operation(http.MethodPost, "import", "Read a YAML, CSV or Excel file into the registry: all of it or nothing", forAdmins)
	in.MaxBodyBytes, in.BodyReadTimeout = maxImport, importTimeout
	huma.Register(c.api, in, c.postImport)
	huma.Register(c.api, operation(http.MethodGet, "export", "What the registry holds of the units that the user sees, as a file", forUsers), c.getExport)
	huma.Register(c.api, operation(http.MethodGet, "template", "An empty Excel workbook to fill in and import", forUsers), c.getTemplate)
}

type importInput struct {
	Name    string `query:"name" required:"true" minLength:"1" maxLength:"200" doc:"the file's name; its ending says what it is" example:"台账.xlsx"`
	DryRun  bool   `query:"dry_run" doc:"check everything and answer what would change; change nothing"`
	RawBody []byte `contentType:"application/octet-stream"`
}

// Imported is what a file has changed, or would change, or what is wrong with it.
type Imported struct {
	Read    int                  `json:"read" doc:"entries in the file"`
	Changed int                  `json:"changed" doc:"entries that are new or changed"`
	Written bool                 `json:"written"`
	Changes []Change             `json:"changes" nullable:"false" doc:"of a dry run, at most 1000"`
	Errors  []*registry.RowError `json:"errors" nullable:"false" doc:"what is wrong, by sheet, row and column; then nothing is written"`
}

const maxShown = 1000 // changes of a dry run

func (c *Console) postImport(ctx context.Context, in *importInput) (*bodyOf[Imported], error) {
	v := viewerOf(ctx)
	if err := v.mayAll(); err != nil {
		return nil, forbidden(err)
	}
	content, err := registry.ReadFile(in.Name, bytes.NewReader(in.RawBody))
	if err != nil {
		return refusedFile(problem(http.StatusUnprocessableEntity, codeInvalid, err.Error()), err)
	}
	out := Imported{Read: content.Len(), Changes: []Change{}, Errors: []*registry.RowError{}}
	if in.DryRun {
		changes, err := c.deps.Registry.Plan(ctx, content)
		if err != nil {
			return refusedFile(c.registryProblem(err), err)
		}
		out.Changed = len(changes)
		for i := range changes[:min(len(changes), maxShown)] {
			one, err := changed(&changes[i])
			if err != nil {
				return nil, c.internal("comparing with the registry", err)
			}
			out.Changes = append(out.Changes, one)
		}
		return &bodyOf[Imported]{out}, nil
	}
	if out.Changed, err = c.deps.Registry.Put(ctx, v.Name, content); err != nil {
		return refusedFile(c.registryProblem(err), err)
	}
	out.Written = true
	c.forgetDirectory()
	c.deps.Log.Info("registry file imported", "audit", "registry", "user", v.Name, "read", out.Read, "changed", out.Changed)
	return &bodyOf[Imported]{out}, nil
}

// refusedFile answers with the rows that are wrong, or with a problem.
func refusedFile(p *Problem, err error) (*bodyOf[Imported], error) {
	if rows := registry.RowErrors(err); len(rows) > 0 {
		return &bodyOf[Imported]{Imported{Changes: []Change{}, Errors: rows}}, nil
	}
	return nil, p
}

type exportInput struct {
	AtInput
	Format string `query:"format" enum:"xlsx,csv,yaml" default:"xlsx" doc:"csv holds one kind of entry"`
	Kind   string `query:"kind" enum:"unit,network,domain,whitelist,system,contact" doc:"only this kind of entry"`
}

type fileOutput struct {
	Type        string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

var contentTypes = map[string]string{
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "csv": "text/csv; charset=utf-8", "yaml": "application/yaml",
}

func file(name, format string, body []byte) *fileOutput {
	return &fileOutput{contentTypes[format], "attachment; filename*=UTF-8''" + url.PathEscape(name+"."+format), body}
}

func (c *Console) getExport(ctx context.Context, in *exportInput) (*fileOutput, error) {
	at, p := in.moment()
	if p != nil {
		return nil, p
	}
	content, err := c.deps.Registry.Read(ctx, registry.Query{At: at, Kind: in.Kind})
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	v := viewerOf(ctx)
	var b bytes.Buffer
	if err := registry.WriteFile("registry."+in.Format, &b, content.Of(func(unit string) bool { return in.shows(v, unit) })); err != nil {
		return nil, problem(http.StatusUnprocessableEntity, codeInvalid, err.Error())
	}
	c.deps.Log.Info("registry exported", "audit", "registry", "user", v.Name, "kind", in.Kind, "format", in.Format)
	return file("台账", in.Format, b.Bytes()), nil
}

func (c *Console) getTemplate(context.Context, *struct{}) (*fileOutput, error) {
	var b bytes.Buffer
	if err := registry.WriteTemplate(&b); err != nil {
		return nil, c.internal("making the template", err)
	}
	return file("台账模板", "xlsx", b.Bytes()), nil
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sensorcast/auth"
	"sensorcast/telemetry"
	"sensorcast/telemetry/roster"
)

const (
	importPath = base + "/sensors/import"

	maxSheetBytes = 4 << 20          // roster.MaxRows rows of 400 bytes
	maxImporters  = 4                // sheets read or imported at once; further ones are told to come again
	sheetTimeout  = 30 * time.Second // for a whole sheet to arrive
)

func (a *API) sheetRoutes() {
	sheet := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	handle(a, huma.Operation{
		OperationID: "import-sensors", Method: http.MethodPost, Path: importPath, Tags: []string{tagSensors},
		Summary: "Register sensors by CSV, all or none",
		Description: "The first row names the fields, those of POST /sensors, serial_no among them; at most 10,000 rows. Tags are separated by semicolons or " +
			"spaces. What GET /sensors/export writes is understood. A sensor of one's own that is as the row says is left alone, so a sheet may be " +
			"imported again; one that differs is a mistake, or changed with update. The answer holds the secrets that were made: they are shown this once.",
		Security: writer(), DefaultStatus: http.StatusOK,
		Errors: []int{http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable},
	}, a.importSensors)
	a.huma.OpenAPI().Paths[importPath].Post.RequestBody = &huma.RequestBody{ // afterwards, as for telemetry
		Required: true,
		Content:  map[string]*huma.MediaType{"text/csv": sheet},
	}
	handle(a, huma.Operation{
		OperationID: "export-sensors", Method: http.MethodGet, Path: base + "/sensors/export", Tags: []string{tagSensors},
		Summary: "Get one's sensors as CSV",
		Description: "Filters and order are those of the list. No secret is in it. A text that a spreadsheet would take for a formula has an apostrophe in front, " +
			"which the import takes off again.",
		Security: reader(),
		Responses: map[string]*huma.Response{"200": {
			Description: "The sheet, as it is read",
			Content:     map[string]*huma.MediaType{"text/csv": sheet},
		}},
	}, a.exportSensors)
}

// sheetFaults places mistakes in rows. How many there are beyond those that are told is one more, without a place.
func sheetFaults(m *roster.Mistakes) []Fault {
	faults := make([]Fault, 0, len(m.Shown)+1)
	for _, mistake := range m.Shown {
		f := Fault{Message: mistake.Reason}
		if mistake.Row > 0 {
			f.Location = "row " + strconv.Itoa(mistake.Row)
		}
		if mistake.Field != "" {
			f.Location += "." + mistake.Field
		}
		faults = append(faults, f)
	}
	if m.More > 0 {
		faults = append(faults, Fault{Message: fmt.Sprintf("there are %d more mistakes", m.More)})
	}
	return faults
}

type importInput struct {
	DryRun bool `query:"dry_run" doc:"Only say what would happen"`
	Update bool `query:"update" doc:"Change sensors that are there and differ, in the fields the sheet has"`

	r *http.Request
	w http.ResponseWriter
}

// Resolve keeps the request, whose body the handler reads.
func (in *importInput) Resolve(ctx huma.Context) []error {
	in.r, in.w = humago.Unwrap(ctx)
	return nil
}

type imported struct {
	DryRun    bool           `json:"dry_run" doc:"Nothing was stored"`
	Created   int            `json:"created"`
	Updated   int            `json:"updated"`
	Unchanged int            `json:"unchanged"`
	Items     []importedItem `json:"items" nullable:"false" doc:"In the order of the rows"`
}

type importedItem struct {
	Row    int    `json:"row" doc:"The field names are row 1"`
	Serial string `json:"serial_no"`
	Status string `json:"status" enum:"created,updated,unchanged"`
	Secret string `json:"secret_key,omitempty" doc:"Of a created sensor whose row had none; shown this once"`
}

type importOutput struct {
	Status int
	Body   imported
}

func (a *API) importSensors(ctx context.Context, in *importInput) (*importOutput, error) {
	p := principal(ctx)
	if !auth.MayRegister(p) {
		return nil, errTokenConfined
	}
	select {
	case a.importers <- struct{}{}:
		defer func() { <-a.importers }()
	default:
		return nil, fmt.Errorf("too many sheets are imported: %w", telemetry.ErrUnavailable)
	}
	text, err := readPayload(in.w, in.r, maxSheetBytes, sheetTimeout)
	if err != nil {
		return nil, err
	}
	i := &importing{api: a, p: p, sheet: roster.Read(text), update: in.Update, result: imported{DryRun: in.DryRun, Items: []importedItem{}}}
	i.checkSecrets()
	err = a.alone(ctx, func() error {
		if err := i.plan(ctx); err != nil || in.DryRun {
			return err
		}
		return i.carryOut(ctx)
	})
	if err != nil {
		return nil, err
	}
	deed := deedOf(ctx)
	if deed.Detail = map[string]any{"created": i.result.Created, "updated": i.result.Updated}; in.DryRun || i.result.Created+i.result.Updated == 0 {
		deed.Action = ""
	}
	out := &importOutput{Status: http.StatusOK, Body: i.result}
	if i.result.Created > 0 && !in.DryRun {
		out.Status = http.StatusCreated
	}
	return out, nil
}

package drive

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testsOf are the names of a folder's tests.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}

// The table of defects in docs/mqtt.md names tests that exist, for each defect one of package broker's and one of the binary, and leaves
// out none of the binary's.
func TestDocs_EveryDefectHasItsTests(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "mqtt.md"))
	if err != nil {
		t.Fatal(err)
	}
	const defects, ofBroker, ofBinary = 21, 3, 4
	tests := map[int]map[string]bool{ofBroker: testsOf(t, filepath.Join("..", "broker")), ofBinary: testsOf(t, ".")}
	name := regexp.MustCompile("`(\\w+)`")
	rows, named := 0, map[string]bool{}
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		number, err := strconv.Atoi(strings.TrimSpace(cells[0]))
		if err != nil {
			continue
		}
		if rows++; number != rows || len(cells) != ofBinary+1 {
			t.Fatalf("row %d: got number %d and %d cells, want %d", rows, number, len(cells), ofBinary+1)
		}
		for column, exist := range tests {
			found := name.FindAllStringSubmatch(cells[column], -1)
			if len(found) == 0 {
				t.Errorf("defect %d has no test in column %d", number, column+1)
			}
			for _, f := range found {
				if named[f[1]] = true; !exist[f[1]] {
					t.Errorf("defect %d: there is no %s", number, f[1])
				}
			}
		}
	}
	if rows != defects {
		t.Errorf("got %d defects, want %d", rows, defects)
	}
	for test := range tests[ofBinary] {
		if strings.HasPrefix(test, "TestDefect") && !named[test] {
			t.Errorf("the table does not name %s", test)
		}
	}
}

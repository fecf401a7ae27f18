package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// fields is a JSON object on its way to the server.
type fields map[string]any

// at joins a path below /api/v1 out of names, whatever characters those hold.
func at(names ...string) string {
	for i, name := range names {
		names[i] = url.PathEscape(name)
	}
	return strings.Join(names, "/")
}

// show makes a request and prints the answer as a card.
func (r *reach) show(ctx context.Context, method, path string, body any, columns []column) error {
	return r.with(ctx, func(c *client) error {
		var reply json.RawMessage
		if err := c.call(ctx, method, path, body, &reply); err != nil {
			return err
		}
		return r.print(columns, reply)
	})
}

// print prints one item.
func (r *reach) print(columns []column, item json.RawMessage) error {
	if r.JSON {
		return plain(os.Stdout, item)
	}
	return card(os.Stdout, columns, item)
}

// rows makes a request and prints the items of the answer.
func (r *reach) rows(ctx context.Context, method, path string, body any, columns []column) error {
	return r.with(ctx, func(c *client) error {
		var reply json.RawMessage
		if err := c.call(ctx, method, path, body, &reply); err != nil {
			return err
		}
		if r.JSON {
			return plain(os.Stdout, reply)
		}
		var page struct{ Items []json.RawMessage }
		if err := json.Unmarshal(reply, &page); err != nil {
			return fmt.Errorf("read reply: %w", err)
		}
		return table(os.Stdout, columns, page.Items)
	})
}

// do makes a request that has no answer worth printing, and says that it is done.
func (r *reach) do(ctx context.Context, method, path string, body any, done string, args ...any) error {
	return r.with(ctx, func(c *client) error {
		if err := c.call(ctx, method, path, body, nil); err != nil {
			return err
		}
		if !r.JSON {
			fmt.Printf(done+"\n", args...)
		}
		return nil
	})
}

// list prints the items of a list, of all its pages, or of only so many items unless most is 0.
func (r *reach) list(ctx context.Context, path string, query url.Values, most int, columns []column) error {
	return r.with(ctx, func(c *client) error {
		items, err := c.items(ctx, path, query, most)
		if err != nil {
			return err
		}
		if !r.JSON {
			return table(os.Stdout, columns, items)
		}
		all, err := json.Marshal(items)
		if err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
		return plain(os.Stdout, all)
	})
}

// items reads the pages of a list until it ends, or until there are as many as most, unless that is 0. A list without a query has one page.
func (c *client) items(ctx context.Context, path string, query url.Values, most int) ([]json.RawMessage, error) {
	items := []json.RawMessage{}
	if query != nil {
		query.Set("limit", "500")
	}
	for {
		var page struct {
			Items []json.RawMessage
			Next  string `json:"next_cursor"`
		}
		if err := c.call(ctx, http.MethodGet, asking(path, query), nil, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if most > 0 && len(items) >= most {
			return items[:most], nil
		}
		if page.Next == "" || query == nil {
			return items, nil
		}
		query.Set("cursor", page.Next)
	}
}

// asking is the path with a query, if there is one.
func asking(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// asked makes a query of what was given on the command line.
func asked(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

// maybe adds what was given on the command line.
func (f fields) maybe(name, value string) {
	if value != "" {
		f[name] = value
	}
}

// seconds adds a time that was given.
func (f fields) seconds(name string, d time.Duration) {
	if d != 0 {
		f[name] = int64(d.Seconds())
	}
}

// showExamples puts the examples of a command's tag, parted by semicolons, below its usage.
func showExamples(k *kong.Kong) error {
	for _, group := range k.Model.Children {
		for _, command := range group.Children {
			if text := command.Tag.Get("example"); text != "" {
				command.Detail = strings.TrimLeft(command.Detail+"\n\n  "+strings.ReplaceAll(text, "; ", "\n  "), "\n")
			}
		}
	}
	return nil
}

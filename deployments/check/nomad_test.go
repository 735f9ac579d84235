package check

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
)

// nomadProcesses reads the job of Nomad. Its own reader is not to be had as a
// library, so the names of attributes and blocks are held against the tags of the
// types that it fills.
func nomadProcesses(t *testing.T) []process {
	file, problems := hclsyntax.ParseConfig(cloud(t, "nomad.hcl"), "nomad.hcl", hcl.InitialPos)
	require.False(t, problems.HasErrors(), problems.Error())
	body := file.Body.(*hclsyntax.Body)
	require.Len(t, body.Blocks, 1)
	job := body.Blocks[0]
	require.NoError(t, known(job.Body, reflect.TypeFor[api.Job](), "job"))

	group := block(t, job.Body, "group")
	task := block(t, group, "task")
	stop, err := time.ParseDuration(text(t, task.Attributes["kill_timeout"].Expr))
	require.NoError(t, err)
	p := process{where: "cloud/nomad.hcl", program: "worker", env: map[string]string{}, stop: stop}
	for _, arg := range block(t, task, "config").Attributes["args"].Expr.(*hclsyntax.TupleConsExpr).Exprs {
		p.args = append(p.args, text(t, arg))
	}
	for name, attr := range block(t, task, "env").Attributes {
		p.env[name] = text(t, attr.Expr)
	}
	files := map[string]bool{}
	for _, b := range task.Blocks {
		if b.Type != "template" {
			continue
		}
		files[text(t, b.Body.Attributes["destination"].Expr)] = true
		if b.Body.Attributes["env"] != nil {
			name, _, _ := strings.Cut(text(t, b.Body.Attributes["data"].Expr), "=")
			p.env[name] = ""
		}
	}
	for name, value := range p.env {
		if file, ok := strings.CutPrefix(value, "/secrets/"); ok {
			require.Contains(t, files, "secrets/"+file, name)
		}
	}
	return []process{p}
}

// block returns the first block of a type.
func block(t *testing.T, in *hclsyntax.Body, kind string) *hclsyntax.Body {
	t.Helper()
	for _, b := range in.Blocks {
		if b.Type == kind {
			return b.Body
		}
	}
	t.Fatalf("no block %s", kind)
	return nil
}

// text evaluates an expression as a task would find it.
func text(t *testing.T, e hclsyntax.Expression) string {
	t.Helper()
	v, problems := e.Value(&hcl.EvalContext{Variables: map[string]cty.Value{"NOMAD_SECRETS_DIR": cty.StringVal("/secrets")}})
	require.False(t, problems.HasErrors(), problems.Error())
	return v.AsString()
}

// known looks for the names of attributes and blocks among the hcl tags of a
// type. What is a map there may hold anything.
func known(body *hclsyntax.Body, of reflect.Type, where string) error {
	tags := map[string]reflect.Type{}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		tags[name] = f.Type
	}
	for name := range body.Attributes {
		if tags[name] == nil {
			return fmt.Errorf("%s has no attribute %s", where, name)
		}
	}
	for _, b := range body.Blocks {
		inner := tags[b.Type]
		if inner == nil {
			return fmt.Errorf("%s has no block %s", where, b.Type)
		}
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		if err := known(b.Body, inner, where+"."+b.Type); err != nil {
			return err
		}
	}
	return nil
}

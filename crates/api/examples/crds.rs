//! Prints the CustomResourceDefinition of `KvsIngest` (`crds`), that of `KvsIngestPolicy` (`crds --policy`), or the
//! reference page of both (`crds --reference`). `cargo xtask crds` calls it.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ingest, policy) =
        (kvs_ingest_api::custom_resource_definition(), kvs_ingest_api::policy_definition());
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    if asked("--reference") {
        print!("{}", reference(&schema(&ingest), &schema(&policy))?);
        return Ok(());
    }
    println!("# Made by `cargo xtask crds` from crates/api. Do not edit.");
    print!("{}", serde_yaml_ng::to_string(if asked("--policy") { &policy } else { &ingest })?);
    Ok(())
}

fn schema(definition: &CustomResourceDefinition) -> JSONSchemaProps {
    let version = definition.spec.versions.first().and_then(|version| version.schema.clone());
    version.unwrap_or_default().open_api_v3_schema.unwrap_or_default()
}

fn reference(root: &JSONSchemaProps, policy: &JSONSchemaProps) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    writeln!(page, "# `KvsIngest` reference\n")?;
    writeln!(page, "Made by `cargo xtask crds` from `crates/api`. Do not edit.\n")?;
    writeln!(
        page,
        "`apiVersion: {}`, `kind: {}`, short name `kvsi`.",
        kvs_ingest_api::API_VERSION,
        kvs_ingest_api::KIND
    )?;
    writeln!(page, "`kubectl explain kvsingest.spec` says the same.\n")?;
    for (title, part) in [("Spec", "spec"), ("Status", "status")] {
        table(&mut page, title, part, root)?;
    }
    writeln!(page, "## Rules\n\nThe API server refuses an object that breaks one of these.\n")?;
    writeln!(page, "| Where | Rule | Message |\n| --- | --- | --- |")?;
    rules(&mut page, "", root)?;
    writeln!(page, "\n# `KvsIngestPolicy` reference\n")?;
    writeln!(
        page,
        "`apiVersion: {}`, `kind: KvsIngestPolicy`, short name `kvsip`, of the cluster, not of a namespace. [Tenancy](tenancy.md) \
         explains it.\n",
        kvs_ingest_api::API_VERSION
    )?;
    let spec = policy.properties.as_ref().and_then(|properties| properties.get("spec"));
    writeln!(page, "{}\n", spec.and_then(|spec| spec.description.as_deref()).unwrap_or_default())?;
    table(&mut page, "Spec of a policy", "spec", policy)?;
    Ok(page.trim_end().to_owned() + "\n")
}

fn table(page: &mut String, title: &str, part: &str, root: &JSONSchemaProps) -> std::fmt::Result {
    writeln!(page, "## {title}\n")?;
    writeln!(page, "| Field | Type | Default | Meaning |\n| --- | --- | --- | --- |")?;
    if let Some(schema) = root.properties.as_ref().and_then(|properties| properties.get(part)) {
        fields(page, part, schema)?;
    }
    writeln!(page)
}

fn fields(page: &mut String, path: &str, schema: &JSONSchemaProps) -> std::fmt::Result {
    let required = schema.required.clone().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let here = format!("{path}.{name}");
        let must = if required.contains(name) { " (required)" } else { "" };
        let default = match &field.default {
            Some(value) if value.0.is_object() => String::new(),
            Some(value) => format!("`{}`", value.0),
            None => String::new(),
        };
        writeln!(page, "| `{here}`{must} | {} | {default} | {} |", kind(field), text(field))?;
        // Kubernetes' own types are explained by Kubernetes.
        if field.properties.iter().flatten().any(|(_, child)| child.description.is_some()) {
            fields(page, &here, field)?;
        }
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items
            && item.properties.iter().flatten().any(|(_, child)| child.description.is_some())
        {
            fields(page, &format!("{here}[]"), item)?;
        }
    }
    Ok(())
}

fn kind(field: &JSONSchemaProps) -> String {
    let base = match (&field.type_, &field.items) {
        (_, Some(JSONSchemaPropsOrArray::Schema(item))) => format!("list of {}", kind(item)),
        (Some(kind), _) if kind == "object" && field.additional_properties.is_some() => {
            "map of strings".to_owned()
        }
        (Some(kind), _) => kind.clone(),
        (None, _) => "any".to_owned(),
    };
    let words: Vec<_> = field
        .enum_
        .iter()
        .flatten()
        .map(|value| format!("`{}`", value.0.as_str().unwrap_or("null")))
        .filter(|word| word != "`null`")
        .collect();
    let range = match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        _ => String::new(),
    };
    let range = match (field.min_length, field.max_length) {
        (_, Some(most)) if words.is_empty() => format!(", at most {most} characters"),
        _ => range,
    };
    if words.is_empty() { format!("{base}{range}") } else { words.join(" or ") }
}

fn text(field: &JSONSchemaProps) -> String {
    field.description.as_deref().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

fn rules(page: &mut String, path: &str, schema: &JSONSchemaProps) -> std::fmt::Result {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let place = if path.is_empty() { "the object" } else { path };
        writeln!(
            page,
            "| `{place}` | `{}` | {} |",
            rule.rule.replace('|', "\\|"),
            rule.message.as_deref().unwrap_or_default()
        )?;
    }
    for (name, field) in schema.properties.iter().flatten() {
        let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rules(page, &here, field)?;
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
            rules(page, &format!("{here}[]"), item)?;
        }
    }
    Ok(())
}

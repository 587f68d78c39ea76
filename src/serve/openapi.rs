//! The API's document (OpenAPI 3.1), made of the same table as the router and of the types that are read and written.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem::{Code, MEDIA_TYPE, ProblemBody};
use super::route::Route;

/// The document of `routes`.
pub fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut generator);
    }
    let problem = generator.subschema_for::<ProblemBody>();
    let codes: Vec<String> =
        Code::ALL.iter().map(|code| format!("{} {}", code.status().as_u16(), code.as_str())).collect();
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "hrseg serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Exact masks by clicks, boxes, sentences. Coordinates are pixels of the upright image, from its top left corner.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"problem": {
                "description": format!("What is wrong, with a `code`: {}", codes.join(", ")),
                "content": {MEDIA_TYPE: {"schema": problem}},
            }},
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let doc = &route.doc;
    let mut content = Map::new();
    if let Some(json) = &doc.json {
        content.insert("application/json".into(), json!({"schema": json(generator)}));
    }
    for media in &doc.files {
        let schema = json!({"type": "string", "contentMediaType": media});
        content.entry(*media).or_insert_with(|| json!({"schema": schema}));
    }
    if !doc.events.is_empty() {
        let events: Map<String, Value> =
            doc.events.iter().map(|(name, schema)| ((*name).to_owned(), schema(generator).to_value())).collect();
        let schema = json!({"type": "string", "description": "Server-sent events; their data by name is in `x-events`, `problem` is a problem."});
        content.insert("text/event-stream".into(), json!({"schema": schema, "x-events": events}));
    }
    let mut answer = json!({"description": doc.summary});
    if !content.is_empty() {
        answer["content"] = content.into();
    }
    let mut operation = json!({
        "summary": doc.summary,
        "operationId": name(route),
        "responses": {doc.status.as_str(): answer, "default": {"$ref": "#/components/responses/problem"}},
    });
    let parameters = parameters(route, generator);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let bodies: Map<String, Value> = (doc.body)(generator)
        .into_iter()
        .map(|(media, schema)| (media.to_owned(), json!({"schema": schema})))
        .collect();
    if !bodies.is_empty() {
        operation["requestBody"] = json!({"required": true, "content": bodies});
    }
    operation
}

/// `post_images_id_masks`.
fn name(route: &Route) -> String {
    let method = route.method.as_str().to_ascii_lowercase();
    let parts = route.path.trim_start_matches("/v1").split('/').filter(|part| !part.is_empty());
    parts.fold(method, |name, part| format!("{name}_{}", part.trim_matches(['{', '}'])))
}

/// Of the path and of the query.
fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let query: Schema = (route.doc.query)(generator);
    if let Some(Value::Object(properties)) = query.get("properties") {
        for (name, schema) in properties {
            let mut parameter = json!({"name": name, "in": "query", "required": false, "schema": schema});
            if let Some(text) = schema.get("description") {
                parameter["description"] = text.clone();
            }
            all.push(parameter);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document(&super::super::api::routes());
        let text = document.to_string();
        let mut seen = 0;
        for rest in text.split("\"$ref\":\"#").skip(1) {
            let at = rest.split('"').next().unwrap();
            assert!(document.pointer(at).is_some(), "{at}");
            seen += 1;
        }
        assert!(seen > 50, "{seen}");
        let masks = &document["paths"]["/v1/images/{id}/masks"]["post"];
        assert_eq!(masks["operationId"], "post_images_id_masks");
        assert!(masks["requestBody"]["content"]["application/json"]["schema"]["$ref"].is_string());
        let frame = &document["paths"]["/v1/videos/{id}/frames/{n}/pixels"]["get"];
        assert_eq!(frame["parameters"].as_array().unwrap().len(), 2 + 6);
        assert_eq!(
            document["paths"]["/v1/images"]["post"]["responses"]["201"]["description"],
            "An image in, its id out"
        );
    }

    #[test]
    fn no_two_routes_have_one_name() {
        let mut names: Vec<String> = super::super::api::routes().iter().map(name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

//! Rows of a table, by the names of its columns: `image`, `object`, `category`, a box `x0,y0,x1,y1`, a click `x,y,label`.

use std::collections::HashMap;

use csv::{ReaderBuilder, StringRecord, Trim};
use seg_models::Point;

use super::{AskedImage, AskedObject, PromptFile};

const COLUMNS: [&str; 10] = ["image", "object", "category", "x0", "y0", "x1", "y1", "x", "y", "label"];

/// Where each column is.
struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    fn new(head: &StringRecord) -> Result<Self, String> {
        let mut places = [None; COLUMNS.len()];
        for (place, name) in head.iter().enumerate() {
            let known = COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name));
            let Some(column) = known else {
                return Err(format!("the column {name:?} is not known, expected some of {}", COLUMNS.join(", ")));
            };
            if places[column].replace(place).is_some() {
                return Err(format!("two columns are called {name:?}"));
            }
        }
        let all = |names: &[&str]| names.iter().all(|name| places[at(name)].is_some());
        match all(&["image"]) && (all(&["x0", "y0", "x1", "y1"]) || all(&["x", "y"])) {
            true => Ok(Self(places)),
            false => Err("the first line names the columns: image, and x0,y0,x1,y1 or x,y".into()),
        }
    }

    /// What stands there, if anything does.
    fn text<'r>(&self, row: &'r StringRecord, name: &str) -> Option<&'r str> {
        self.0[at(name)].and_then(|place| row.get(place)).filter(|text| !text.is_empty())
    }

    fn numbers<const N: usize>(&self, row: &StringRecord, names: [&str; N]) -> Result<Option<[f32; N]>, String> {
        let mut numbers = [0.; N];
        let texts = names.map(|name| self.text(row, name));
        if texts.iter().all(Option::is_none) {
            return Ok(None);
        }
        for ((number, text), name) in numbers.iter_mut().zip(texts).zip(names) {
            let text = text.ok_or_else(|| format!("there is no {name}"))?;
            *number = text.parse().map_err(|_| format!("{name} is {text:?}, expected a number of pixels"))?;
        }
        Ok(Some(numbers))
    }
}

fn at(name: &str) -> usize {
    COLUMNS.iter().position(|column| *column == name).unwrap_or(0)
}

/// Rows of the same image and object are one object: a box at most, any number of clicks. Without a name each row is an object.
pub fn parse(bytes: &[u8]) -> Result<PromptFile, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let columns = Columns::new(reader.headers().map_err(|error| error.to_string())?)?;
    let mut file = PromptFile::default();
    let (mut images, mut objects) = (HashMap::new(), HashMap::new());
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let line = row.position().map_or(0, csv::Position::line);
        let here = |problem: String| format!("line {line}: {problem}");
        let image = columns.text(&row, "image").ok_or_else(|| here("there is no image".into()))?;
        let place = *images.entry(image.to_owned()).or_insert_with(|| {
            file.images.push(AskedImage { file_name: image.to_owned(), ..AskedImage::default() });
            file.images.len() - 1
        });
        let of_image = &mut file.images[place].objects;
        let name = columns.text(&row, "object").map_or_else(|| (of_image.len() + 1).to_string(), str::to_owned);
        let known = *objects.entry((place, name.clone())).or_insert_with(|| {
            of_image.push(AskedObject { name, ..AskedObject::default() });
            of_image.len() - 1
        });
        let object = &mut of_image[known];
        if let Some(text) = columns.text(&row, "category") {
            let number = text.parse().map_err(|_| here(format!("category is {text:?}, expected a whole number")))?;
            if object.category.replace(number).is_some_and(|before| before != number) {
                return Err(here(format!("the object {:?} has two categories", object.name)));
            }
        }
        let bbox = columns.numbers(&row, ["x0", "y0", "x1", "y1"]).map_err(here)?;
        let click = columns.numbers(&row, ["x", "y"]).map_err(here)?;
        if bbox.is_none() && click.is_none() {
            return Err(here("there is neither a box nor a click".into()));
        }
        if bbox.is_some() && object.bbox.is_some() {
            return Err(here(format!("the object {:?} has a second box", object.name)));
        }
        object.bbox = object.bbox.or(bbox);
        if let Some([x, y]) = click {
            let positive = match columns.text(&row, "label") {
                None | Some("1") => true,
                Some("0") => false,
                Some(other) => return Err(here(format!("label is {other:?}, expected 1 (on the object) or 0"))),
            };
            object.points.push(Point { x, y, positive });
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_object_belong_together() {
        let text = "image, object,x0,y0,x1,y1,x,y,label\r\n\"a, b.jpg\",cat,1,2,3,4,,,\r\n\"a, b.jpg\",cat,,,,,5,6,0\r\nb.jpg,,,,,,7,8,\r\nb.jpg,,,,,,9,1,1\r\n";
        let file = parse(text.as_bytes()).unwrap();
        let [a, b] = &file.images[..] else { panic!("{file:?}") };
        assert_eq!((a.file_name.as_str(), a.objects.len()), ("a, b.jpg", 1));
        assert_eq!(a.objects[0].bbox, Some([1., 2., 3., 4.]));
        assert_eq!(a.objects[0].points, [Point { x: 5., y: 6., positive: false }]);
        let names: Vec<&str> = b.objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["1", "2"], "without a name each row is an object");
    }

    #[test]
    fn a_wrong_table_is_told_with_its_line() {
        for (text, part) in [
            ("a.jpg,1,2,3,4\n", "the column \"a.jpg\" is not known"),
            ("image,x0,y0,x1\n", "the first line names the columns"),
            ("image,x,y,x\na,1,2,3\n", "two columns are called"),
            ("image,x,y\na.jpg,1\n", "record 1"),
            ("image,x,y\na.jpg,1,two\n", "line 2: y is \"two\""),
            ("image,x,y\na.jpg,1,\n", "line 2: there is no y"),
            ("image,x,y\na.jpg,,\n", "line 2: there is neither"),
            ("image,x,y,label\na.jpg,1,2,yes\n", "line 2: label is \"yes\""),
            (
                "image,object,x0,y0,x1,y1\na.jpg,o,1,2,3,4\na.jpg,o,1,2,3,4\n",
                "line 3: the object \"o\" has a second box",
            ),
        ] {
            let message = parse(text.as_bytes()).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

"""Projects: a gallery to open, make, rename and delete them. Deleting is undone with one click."""

from __future__ import annotations

import time

import streamlit as st

from engine.data import projects, samples
from engine.data.marks import TASK_KINDS
from engine.data.projects import Project, Summary
from engine.errors import StudioError
from pages.parts import state as ui
from pages.parts.pictures import strip
from pages.parts.run_picker import badge
from pages.parts.scores import metric_title
from pages.parts.standing import Standing, standing
from pages.parts.text import plain
from pages.parts.wording import amount, percent

PAGE = 24
SEARCH_FROM = 9
LONGEST_WAIT_SECONDS = 60


def main() -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title("Projects")
        if st.button("New project", type="primary", icon=":material/add:", key="new-project"):
            new_project()
    known = _whole(projects.list_projects())
    _undo_banner()
    if known:
        _gallery(known)
    elif not _being_made():
        _welcome()
    _samples(known)
    _bin()
    ui.shell_command("python -m engine projects\npython -m engine import PATH --project NAME")


# ---------------------------------------------------------------- the gallery


def _gallery(known: list[Project]) -> None:
    shown = known
    if len(known) >= SEARCH_FROM:
        wanted = st.text_input(
            "Find a project", key="find-project", placeholder="Find a project", icon=":material/search:", label_visibility="collapsed", live=True
        )
        shown = [project for project in known if (wanted or "").strip().casefold() in project.name.casefold()]
    pages = max(1, -(-len(shown) // PAGE))
    number = min(st.session_state.get("projects-page", 1), pages)
    with st.grid("auto", min_column_width=250, gap="medium"):
        for project in shown[(number - 1) * PAGE : number * PAGE]:
            _card(project)
    if not shown:
        st.caption("No project has that in its name.")
    if pages > 1:
        st.pagination(pages, key="projects-page")


def _card(project: Project) -> None:
    summary, stands = projects.summary(project.id), standing(project.id, project.task)
    with st.container(border=True, height="stretch", gap="small", key=f"card-{project.id}"):
        strip(summary.cover_items, alt=f"Pictures of {project.name}")
        st.markdown(f"#### {plain(project.name)}")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="xsmall"):
            st.caption(_counts(summary), width="content")
            _mark(project, stands)
        if stands.best is not None:
            st.markdown(f":material/target: {metric_title(project.task)} **{percent(stands.best)}** · best of {amount(stands.runs, 'run')}")
        elif project.sample and (sample := _sample(project.sample)):
            st.markdown(plain(sample.words))
        st.space("stretch")
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
            if st.button("Open", key=f"open-{project.id}", icon=":material/arrow_forward:", width=140):
                open_project(project, summary, stands)
            with st.popover("", icon=":material/more_horiz:", type="tertiary", key=f"more-{project.id}", help="Rename or delete"):
                if st.button("Rename", key=f"rename-{project.id}", icon=":material/edit:", type="tertiary"):
                    rename_project(project)
                st.button("Delete", key=f"delete-{project.id}", icon=":material/delete:", type="tertiary", on_click=_delete, args=(project,))


def _mark(project: Project, stands: Standing) -> None:
    if stands.state is not None:
        badge(stands.state)
    elif project.sample:
        st.badge("Sample", icon=":material/science:", color="gray", help="Made from packages on this computer, for trying things out.")


def _counts(summary: Summary) -> str:
    if not summary.items:
        return "No pictures yet"
    words = f"{amount(summary.items, 'picture')} · {amount(len(summary.classes), 'class', 'classes')}"
    return words + (f" · {summary.unlabelled:,} to sort" if summary.unlabelled else "")


def open_project(project: Project, summary: Summary, stands: Standing) -> None:
    """Go to where the project's next step is."""
    ui.select(project=project.id)
    if stands.runs:
        st.switch_page("train.py")
    st.switch_page("data.py" if summary.items else "start.py")


# ---------------------------------------------------------------- making, naming, deleting


_TASKS = {
    "data": ("Decide by my data", "Sorting, until you import a data set whose labels say otherwise."),
    "image-classification": ("Sort pictures into classes", "One label a picture: cat or dog, healthy or ill, which product it shows."),
    "multi-label-classification": ("Tag pictures", "A picture can show several things at once, or none; the model learns to say which."),
    "object-detection": ("Find things and box them", "How many, and where: cars in a street, cells under a microscope."),
    "semantic-segmentation": ("Say of every pixel what it is", "Areas: road, field, water; tissue and background."),
    "instance-segmentation": ("Outline each thing", "The exact shape of every single thing, also where they touch."),
}
"""What a new project can learn, in plain words."""


@st.dialog("New project", icon=":material/add:")
def new_project() -> None:
    """Ask for a name and make a project."""
    st.caption("A project is one task, one set of pictures, and as many training runs as you like.")
    name = st.text_input("Name", key="new-name", placeholder="For example: leaves of my garden", max_chars=100)
    task = st.radio(
        "What should it learn?", list(_TASKS), format_func=lambda one: _TASKS[one][0], captions=[words for _, words in _TASKS.values()], key="new-task"
    )
    if st.button("Create", type="primary", key="create-project", width="stretch"):
        try:
            project = projects.create(name or "", task if task in TASK_KINDS else "image-classification")
        except StudioError as error:
            ui.show_error(error)
            return
        ui.select(project=project.id)
        st.switch_page("start.py")


@st.dialog("Rename project", icon=":material/edit:")
def rename_project(project: Project) -> None:
    """Ask for another name."""
    name = st.text_input("Name", value=project.name, key="rename-name", max_chars=100)
    if st.button("Save", type="primary", key="save-name", width="stretch"):
        try:
            projects.rename(project.id, name or "")
        except StudioError as error:
            ui.show_error(error)
            return
        st.rerun()


def _delete(project: Project) -> None:
    projects.delete(project.id)
    st.session_state["_deleted"] = project.id
    if st.session_state.get("project") == project.id:
        ui.select(project=None)


def _restore(project_id: str) -> None:
    projects.restore(project_id)
    st.session_state.pop("_deleted", None)


def _purge(project_id: str) -> None:
    with ui.guard():
        projects.purge(project_id)
    st.session_state.pop("_deleted", None)


def _undo_banner() -> None:
    deleted = {project.id: project for project in projects.list_projects(deleted=True)}
    project = deleted.get(st.session_state.get("_deleted", ""))
    if project is None:
        return
    with st.container(border=True, horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="undo-banner"):
        st.markdown(f":material/delete: **{plain(project.name)}** was deleted.", width="content")
        st.button("Undo", key="undo-delete", icon=":material/undo:", type="primary", on_click=_restore, args=(project.id,))


def _bin() -> None:
    deleted = projects.list_projects(deleted=True)
    if not deleted:
        return
    with st.expander(f"Deleted projects ({len(deleted)})", icon=":material/delete:"):
        for project in deleted:
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.markdown(plain(project.name), width="content")
                with st.container(horizontal=True, width="content"):
                    st.button("Restore", key=f"restore-{project.id}", icon=":material/restore_from_trash:", on_click=_restore, args=(project.id,))
                    with st.popover("Remove for good", type="tertiary", key=f"really-{project.id}"):
                        st.markdown("Its copied pictures, runs and models are removed from this computer. This cannot be undone.")
                        st.button("Remove it", key=f"purge-{project.id}", type="primary", on_click=_purge, args=(project.id,))


# ---------------------------------------------------------------- samples and the first visit


def _sample(key: str) -> samples.Sample | None:
    return next((sample for sample in samples.SAMPLES if sample.key == key), None)


def _whole(listed: list[Project]) -> list[Project]:
    """Leave out samples whose pictures are still being made."""
    return [project for project in listed if not project.sample or not _being_made() or projects.summary(project.id).items]


def _absent(known: list[Project]) -> list[samples.Sample]:
    there = {project.sample for project in [*known, *projects.list_projects(deleted=True)] if project.sample}
    return [sample for sample in samples.SAMPLES if sample.key not in there]


def _being_made() -> bool:
    """Tell whether the samples of a fresh workspace are still on their way (app.py has them made). Nobody waits for ever."""
    if samples.made():
        return False
    return time.time() - st.session_state.setdefault("_waiting-since", time.time()) < LONGEST_WAIT_SECONDS


def _samples(known: list[Project]) -> None:
    """Show samples on their way as cards that fill by themselves, and absent ones to be made with one click."""
    absent = _absent(known)
    if not absent:
        return None
    if not _being_made():
        return _offered(absent)
    listed = {project.id for project in known}

    def tick() -> None:
        if {project.id for project in _whole(projects.list_projects())} != listed or not _being_made():
            st.rerun()
        with st.grid("auto", min_column_width=250, gap="medium"):
            for sample in (one for one in absent if one.ready):
                with st.container(border=True, gap="small"):
                    st.skeleton(height=104)
                    st.markdown(f"#### {plain(sample.title)}")
                    st.caption(":material/hourglass_top: Getting this sample ready…")

    return st.fragment(tick, run_every=1.0)()


def _offered(absent: list[samples.Sample]) -> None:
    st.subheader("More samples")
    with st.grid("auto", min_column_width=250, gap="medium"):
        for sample in absent:
            with st.container(border=True, height="stretch", gap="small"):
                st.image(str(sample.cover), width="stretch", alt=f"Pictures of {sample.title}")
                st.markdown(f"#### {plain(sample.title)}")
                st.badge(_TASKS[sample.task][0], color="gray")
                st.caption(plain(sample.words))
                st.space("stretch")
                if st.button(
                    "Add this sample", key=f"sample-{sample.key}", icon=":material/science:", help=f"{plain(sample.credit)}. {plain(sample.licence)}."
                ):
                    with st.spinner("Making its pictures…"):
                        ui.select(project=samples.make(sample.key).id)
                    st.switch_page("data.py")


def _welcome() -> None:
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown("# :primary[:material/potted_plant:]", text_alignment="center")
        st.markdown("### Grow your first model", text_alignment="center")
        st.caption("Show Graft some pictures, say what each one is, press Train. Nothing leaves this computer.", text_alignment="center")
        with st.container(horizontal=True, horizontal_alignment="center"):
            if st.button("Bring my own pictures", type="primary", icon=":material/add_photo_alternate:", key="welcome-new"):
                new_project()
            for sample in samples.SAMPLES[:1]:
                if st.button("Start with a sample", icon=":material/science:", key="welcome-sample"):
                    ui.select(project=samples.make(sample.key).id)
                    st.switch_page("data.py")
        st.space("small")


main()
